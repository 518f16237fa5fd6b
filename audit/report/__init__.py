"""A finished run, rendered: narrative, sections, figures, exports."""
