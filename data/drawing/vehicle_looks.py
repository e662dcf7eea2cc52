"""What a vehicle keeps in every picture: its body (sedan, hatch, suv, van, pickup, truck or bus), paint and marks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data.drawing.paint import MARKS, VEHICLE, Colour, Point, pick


class Shell(NamedTuple):
    """A body: an outline seen from the side, swept over the width. Metres; x runs from nose to tail."""

    length: float
    width: float
    outline: list[Point]
    """(x as a share of the length, height), from the bottom of the nose over the roof to the bottom of the tail."""
    glass: tuple[int, ...]
    """The edges of the outline that are windscreen and rear window. Edge i joins points i and i + 1."""
    roof: int
    """The edge that is the roof."""
    upper: tuple[int, int]
    """First and last point of the part that has a livery's second colour: the upper body, or a truck's box."""
    pane: tuple[float, float]
    """Lower and upper height of the side windows."""
    windows: list[tuple[float, float, float, float]]
    """x of each side window's corners: bottom front, top front, top rear, bottom rear."""
    wheels: tuple[float, float]
    wheel_radius: float
    flank: tuple[float, float]
    """Heights between which the side carries stickers."""


SHELLS: dict[str, Shell] = {
    "sedan": Shell(
        4.6, 1.8, [(0, 0.25), (0, 0.68), (0.04, 0.82), (0.27, 0.95), (0.42, 1.42), (0.66, 1.44), (0.83, 1.04),
                   (0.99, 1.0), (1, 0.7), (1, 0.3)],
        (3, 5), 4, (3, 6), (0.99, 1.37), [(0.33, 0.43, 0.53, 0.53), (0.55, 0.55, 0.65, 0.77)],
        (0.18, 0.8), 0.33, (0.36, 0.96)),
    "hatch": Shell(
        3.9, 1.75, [(0, 0.25), (0, 0.72), (0.05, 0.86), (0.27, 1.0), (0.43, 1.5), (0.82, 1.52), (0.97, 1.02),
                    (1, 0.85), (1, 0.3)],
        (3, 5), 4, (3, 6), (1.03, 1.45), [(0.33, 0.45, 0.58, 0.58), (0.61, 0.61, 0.8, 0.88)],
        (0.19, 0.81), 0.32, (0.36, 1.0)),
    "suv": Shell(
        4.6, 1.9, [(0, 0.36), (0, 0.92), (0.04, 1.08), (0.26, 1.18), (0.37, 1.74), (0.92, 1.78), (0.985, 1.2),
                   (1, 1.0), (1, 0.42)],
        (3, 5), 4, (3, 6), (1.21, 1.69), [(0.31, 0.4, 0.54, 0.54), (0.56, 0.56, 0.73, 0.73), (0.76, 0.76, 0.89, 0.93)],
        (0.19, 0.8), 0.4, (0.46, 1.17)),
    "van": Shell(
        4.9, 1.95, [(0, 0.3), (0, 0.85), (0.03, 1.02), (0.13, 1.2), (0.25, 1.98), (0.97, 2.02), (1, 1.25), (1, 0.35)],
        (3, 5), 4, (3, 6), (1.22, 1.86), [(0.18, 0.27, 0.39, 0.39)],
        (0.17, 0.8), 0.35, (0.5, 1.9)),
    "pickup": Shell(
        5.2, 1.9, [(0, 0.42), (0, 0.96), (0.03, 1.1), (0.27, 1.18), (0.36, 1.76), (0.56, 1.78), (0.6, 1.16),
                   (0.99, 1.14), (1, 0.9), (1, 0.5)],
        (3, 5), 4, (3, 6), (1.2, 1.69), [(0.31, 0.38, 0.46, 0.46), (0.475, 0.475, 0.54, 0.57)],
        (0.18, 0.79), 0.41, (0.5, 1.12)),
    "truck": Shell(
        6.2, 2.2, [(0, 0.42), (0, 1.15), (0.03, 1.35), (0.07, 2.15), (0.25, 2.2), (0.26, 0.95), (0.29, 0.95),
                   (0.29, 2.8), (1, 2.8), (1, 0.6), (0.27, 0.6)],
        (2,), 7, (6, 10), (1.36, 2.0), [(0.08, 0.105, 0.2, 0.2)],
        (0.14, 0.8), 0.46, (1.0, 2.65)),
    "bus": Shell(
        8.0, 2.4, [(0, 0.35), (0, 1.1), (0.02, 2.75), (0.05, 2.95), (0.98, 2.95), (1, 2.75), (1, 1.5), (1, 0.4)],
        (1, 5), 3, (1, 6), (1.4, 2.4), [(x, x, x + 0.12, x + 0.12) for x in (0.06, 0.2, 0.34, 0.48, 0.62, 0.76)],
        (0.2, 0.76), 0.48, (0.5, 1.35)),
}  # fmt: skip


class Sticker(NamedTuple):
    """A mark on both flanks of a vehicle."""

    along: float
    """Middle, from nose 0 to tail 1."""
    size: float
    """Share of the flank's height, 0 to 1."""
    shape: str
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class VehicleLook:
    """What one vehicle keeps in every picture."""

    body: str
    paint: Colour
    second: Colour
    livery: str
    tint: float
    """Brightness of the windows, 0.4 (dark) to 1.6."""
    rims: str
    rim_colour: Colour
    rack: Colour | None
    stickers: tuple[Sticker, ...]
    bonnet: Colour | None
    """Colour of a mark on the bonnet."""
    tail: Colour | None
    """Colour of a mark on the tail."""


def vehicle_look(rng: np.random.Generator) -> VehicleLook:
    """A new vehicle. Bodies and paints come from short lists: identities share them and differ in the rest."""
    paint = pick(rng, VEHICLE)

    def mark(likely: float) -> Colour | None:
        return pick(rng, MARKS, other_than=paint) if rng.random() < likely else None

    return VehicleLook(
        body=str(rng.choice(list(SHELLS))),
        paint=paint,
        second=pick(rng, MARKS, other_than=paint),
        livery=str(rng.choice(["plain", "plain", "upper", "stripe", "sill", "half"])),
        tint=float(rng.choice([0.4, 1.0, 1.6])),
        rims=str(rng.choice(["plain", "spokes", "dark"])),
        rim_colour=pick(rng, ["grey", "white", "beige", "red"]),
        rack=pick(rng, ["black", "red", "blue", "white"]) if rng.random() < 0.4 else None,
        stickers=tuple(
            Sticker(
                along + float(rng.uniform(-0.05, 0.05)),
                float(rng.uniform(0.6, 1.0)),
                str(rng.choice(["disc", "square", "diamond"])),
                pick(rng, MARKS, other_than=paint),
            )
            for along in (0.46, 0.66)
            if rng.random() < 0.5
        ),
        bonnet=mark(0.5),
        tail=mark(0.5),
    )
