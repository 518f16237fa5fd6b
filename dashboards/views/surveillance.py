"""Words of suspicion, stressed captions, answering only when sure, and telling people apart."""

from parts.topics import show_topics

show_topics(
    "Surveillance",
    ["scenes", "identity"],
    "The suite ‘surveillance’ would, or a probe of the kind ‘scenes’ or ‘identity’. This is for "
    "assessing a model: surveillance is out of scope of CLIP's model card.",
    harmful=True,
)
