"""The words of the generator: what each parameter can be, and the colours behind the words."""

from __future__ import annotations

ANCESTRIES = ("african", "asian", "caucasian")
ANCESTRIES_AND_MIXED = [*ANCESTRIES, "mixed"]
GENDERS = ("female", "male")
AGE_RANGES = ((5, 12), (18, 32), (38, 56), (64, 82))
# Where the tones of an ancestry centre on the scale from a light (0) to a dark (1) skin.
TONE = {"african": 1.0, "asian": 0.28, "caucasian": 0.12, "mixed": 0.55}
HAIR = {
    "long01": "long", "ponytail01": "ponytail", "short01": "short",
    "short02": "short", "short04": "short", "afro01": "afro",
}  # fmt: skip
CLOTHES = {
    "male_casualsuit06": "t-shirt", "female_sportsuit01": "v-neck", "male_casualsuit01": "shirt",
}  # fmt: skip
EYE_COLOURS = {"brown": "brown", "lightbrown": "brownlight", "blue": "blue", "green": "green"}
# Linear RGB of clothes; sRGB-like values of backgrounds; linear RGB of hair.
PALETTE = {
    "red": (0.42, 0.03, 0.03), "orange": (0.55, 0.18, 0.02), "yellow": (0.6, 0.48, 0.05),
    "green": (0.05, 0.28, 0.07), "teal": (0.03, 0.27, 0.27), "blue": (0.04, 0.1, 0.42),
    "purple": (0.2, 0.05, 0.33), "pink": (0.62, 0.22, 0.33), "white": (0.7, 0.7, 0.7),
    "grey": (0.22, 0.22, 0.22), "black": (0.02, 0.02, 0.02), "brown": (0.16, 0.08, 0.03),
}  # fmt: skip
BACKGROUNDS = {
    "grey": (0.55, 0.57, 0.6), "blue": (0.35, 0.47, 0.68), "green": (0.4, 0.6, 0.42),
    "brown": (0.52, 0.42, 0.33), "white": (0.86, 0.86, 0.85), "pink": (0.8, 0.58, 0.62),
    "yellow": (0.8, 0.72, 0.42), "black": (0.16, 0.16, 0.17),
}  # fmt: skip
HAIR_COLOURS = {
    "black": (0.012, 0.010, 0.009), "dark": (0.030, 0.018, 0.012), "brown": (0.075, 0.040, 0.022),
    "lightbrown": (0.16, 0.095, 0.05), "blond": (0.42, 0.28, 0.14), "grey": (0.34, 0.33, 0.32),
    "white": (0.62, 0.61, 0.59), "red": (0.20, 0.065, 0.025),
}  # fmt: skip


def age_group(age: float) -> str:
    """Word for an age in years."""
    for limit, word in ((13, "child"), (35, "young adult"), (60, "middle-aged")):
        if age < limit:
            return word
    return "older adult"
