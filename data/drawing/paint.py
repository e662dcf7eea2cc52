"""The colours of people, vehicles and clothes."""

import numpy as np

Colour = tuple[int, int, int]
Point = tuple[float, float]

PAINTS: dict[str, Colour] = {
    "red": (200, 38, 40), "orange": (236, 126, 30), "yellow": (240, 210, 60), "green": (44, 140, 66),
    "blue": (38, 84, 200), "purple": (118, 54, 150), "pink": (236, 128, 172), "white": (238, 238, 234),
    "grey": (136, 138, 142), "black": (32, 32, 36), "brown": (112, 72, 44), "beige": (212, 188, 146),
    "denim": (70, 98, 148), "teal": (30, 156, 160),
}  # fmt: skip
UPPER = ["red", "yellow", "green", "blue", "white", "grey", "black"]
MARKS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black", "teal"]
LOWER = ["denim", "denim", "black", "grey", "beige", "brown"]
VEHICLE = ["white", "black", "grey", "red", "blue", "yellow", "green", "orange", "beige"]
SKINS: list[Colour] = [(244, 208, 180), (222, 174, 136), (168, 116, 80), (104, 68, 48)]
HAIRS: list[Colour] = [(28, 24, 22), (84, 54, 34), (206, 168, 96), (160, 158, 154), (150, 66, 32)]
PATTERNS = ["plain", "plain", "plain", "hoops", "bars", "checks", "dots", "halves", "band", "sash", "logo", "jacket"]


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, lighter (factor above 1) or darker."""
    r, g, b = (max(0, min(255, round(part * factor))) for part in colour)
    return r, g, b


def pick(rng: np.random.Generator, names: list[str], other_than: Colour | None = None) -> Colour:
    """One of the named paints, at random, but not `other_than`."""
    return PAINTS[str(rng.choice([name for name in names if PAINTS[name] != other_than]))]
