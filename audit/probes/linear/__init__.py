"""What does a linear classifier trained on the embeddings get right, and for whom?"""
