"""Does the model pick the right name for a picture among candidate names?"""
