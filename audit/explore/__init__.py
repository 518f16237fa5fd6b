"""Answers while one types or browses: lab, gallery, comparison of runs, replication, lists."""
