"""Work in units: which there are, which are done, and who is given them."""
