"""Carry out a suite: read it, plan it, embed, ask, tally, compare, find, seal, judge the gates."""
