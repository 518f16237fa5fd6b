"""What a training asks of a batch: a file an objective."""
