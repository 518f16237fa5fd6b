"""Rendered people with known attributes: parameters, shapes, skins, scene, pictures."""
