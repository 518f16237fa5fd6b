"""What does a published mitigation change, and what does it cost?"""
