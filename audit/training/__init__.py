"""How a CLIP comes to be: architecture, trainer, evaluation, specimens."""
