"""Do two pictures show one person, by their embeddings, and for whom does it fail?"""
