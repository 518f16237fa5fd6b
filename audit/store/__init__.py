"""Embeddings that are kept: shards, streaming, whose pictures they are, which were set aside."""
