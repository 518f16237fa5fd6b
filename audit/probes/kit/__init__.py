"""What probes share: their base, changes between conditions, and blocks of text and figures."""
