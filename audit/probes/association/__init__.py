"""Do pictures of one group lean towards some words, or pictures, more than others?"""
