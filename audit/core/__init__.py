"""What every room stands on: errors, names, table schemas, the run directory, links to rows."""
