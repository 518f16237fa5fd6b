"""What poor footage and other sources of pictures cost, and whom they cost more."""

from parts.topics import show_topics

show_topics("Robustness", "robustness", ["robustness", "shift"])
