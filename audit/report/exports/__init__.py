"""What leaves this machine: the public copy of a run, documents, files for machines."""
