"""Who is at the top when pictures are ranked for a text, beside a ranking by lot."""

from parts.topics import show_topics

show_topics("Retrieval", "retrieval", ["retrieval"])
