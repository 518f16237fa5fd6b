"""Whether pictures of some groups lie closer to some words, beside what chance alone gives."""

from parts.topics import show_topics

show_topics("Association", "association", ["association"])
