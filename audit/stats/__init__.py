"""How sure we are: arrays in, arrays out."""
