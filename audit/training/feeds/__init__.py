"""Pairs of pictures and captions, and the batches that are made of them ahead of the step."""
