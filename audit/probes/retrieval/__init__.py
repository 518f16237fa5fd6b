"""Who is at the top when all pictures are ranked for a query?"""
