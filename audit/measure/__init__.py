"""From outcomes to findings: tallies, rates, disparities, verdicts, and what else is asked."""
