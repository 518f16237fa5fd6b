"""What is asked of a model: a folder a probe, and ``kit``, which they share."""
