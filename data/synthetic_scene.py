"""Draws the pedestrians and vehicles of data.synthetic the way different cameras would see them.

A look is what an identity keeps from picture to picture (clothes, bag, hair; body, paint, stickers). A
Camera is what comes between: colour cast, exposure, blur, noise, background, preferred side of the subject.
photograph_person and photograph_vehicle put a look before a camera. All randomness comes in as a Generator.
"""

import functools
import io
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (max(0, min(255, round(part * factor))) for part in colour)
    return r, g, b


def _pick(rng: np.random.Generator, names: list[str], other_than: Colour | None = None) -> Colour:
    return PAINTS[str(rng.choice([name for name in names if PAINTS[name] != other_than]))]


# ---------------------------------------------------------------- pedestrians


@dataclass(frozen=True, kw_only=True)
class PersonLook:
    """What one pedestrian keeps in every picture."""

    upper: Colour
    second: Colour
    pattern: str
    sleeves: str
    hem: float
    """Where the upper garment ends, in body heights below the crown; 0.5 is the hip."""
    lower: Colour
    legwear: str
    shoes: Colour
    hair: Colour
    hair_style: str
    cap: Colour
    skin: Colour
    bag: str
    bag_colour: Colour
    bag_side: int
    """-1: carried on the right, 1: on the left."""
    girth: float
    height: float


def person_look(rng: np.random.Generator) -> PersonLook:
    """A new pedestrian. Colours come from short lists, so identities share them and differ in the rest."""
    upper = _pick(rng, UPPER)
    return PersonLook(
        upper=upper,
        second=_pick(rng, UPPER, other_than=upper),
        pattern=str(rng.choice(PATTERNS)),
        sleeves=str(rng.choice(["long", "long", "short", "second"])),
        hem=float(rng.choice([0.5, 0.5, 0.54, 0.66])),
        lower=_pick(rng, LOWER),
        legwear=str(rng.choice(["trousers", "trousers", "shorts", "skirt"])),
        shoes=_pick(rng, ["white", "black", "red", "brown"]),
        hair=HAIRS[rng.integers(len(HAIRS))],
        hair_style=str(rng.choice(["short", "short", "long", "long", "bun", "cap"])),
        cap=_pick(rng, MARKS),
        skin=SKINS[rng.integers(len(SKINS))],
        bag=str(rng.choice(["none", "none", "backpack", "backpack", "messenger", "handbag"])),
        bag_colour=_pick(rng, MARKS, other_than=upper),
        bag_side=int(rng.choice([-1, 1])),
        girth=float(rng.uniform(0.88, 1.2)),
        height=float(rng.uniform(0.93, 1.05)),
    )


class _Body:
    """A pen in body units (1 is the height, y from crown 0 to sole 1) and the pose it draws.

    `across` and `ahead` are what remains of the body's width and depth in the picture: (1, 0) faces the
    camera, (-1, 0) turns its back, (0, 1) walks to the right. A part at (side, forward) of the body's axis
    appears at side * across + forward * ahead, before the axis where near(side, forward) > 0.
    """

    def __init__(self, canvas: Image.Image, x: float, y: float, scale: float, angle: float, tilt: float) -> None:
        self.canvas, self.draw = canvas, ImageDraw.Draw(canvas, "RGBA")
        self.x, self.y, self.scale, self.tilt = x, y, scale, tilt
        self.across, self.ahead = math.cos(angle), math.sin(angle)

    def near(self, side: float, forward: float) -> float:
        return forward * self.across - side * self.ahead

    def at(self, x: float, y: float) -> Point:
        """Pixel of a body point; a camera that looks down (tilt > 0) enlarges the upper body."""
        wide = 1 + self.tilt * (0.5 - y)
        return self.x + self.scale * x * wide, self.y + self.scale * (y + self.tilt * y * (1 - y) * 0.5)

    def shape(self, points: list[Point], colour: tuple[int, ...]) -> None:
        self.draw.polygon([self.at(*point) for point in points], fill=colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: tuple[int, ...]) -> None:
        left, top = self.at(x - rx, y - ry)
        right, bottom = self.at(x + rx, y + ry)
        self.draw.ellipse((left, top, right, bottom), fill=colour)

    def limb(self, a: Point, b: Point, width: float, colour: Colour) -> None:
        """A straight part with round ends."""
        thick = max(1, round(width * self.scale))
        self.draw.line([self.at(*a), self.at(*b)], fill=colour, width=thick)
        for x, y in (self.at(*a), self.at(*b)):
            half = thick / 2 - 0.5
            self.draw.ellipse((x - half, y - half, x + half, y + half), fill=colour)


def draw_person(
    canvas: Image.Image,
    look: PersonLook,
    rng: np.random.Generator,
    *,
    x: float,
    y: float,
    scale: float,
    angle: float,
    tilt: float,
) -> None:
    """Draws a walking pedestrian with the crown at (x, y), `scale` pixels tall, turned by `angle` radians."""
    body = _Body(canvas, x, y, scale * look.height, angle, tilt)
    stride = float(rng.uniform(-1, 1))
    waist = look.girth * (0.118 * abs(body.across) + 0.08 * abs(body.ahead))
    body.disc(0.04, 0.985, 0.2, 0.02, (0, 0, 0, 70))
    sides = sorted((-1, 1), key=lambda side: body.near(side, 0))  # far side first
    for side in sides:
        _leg(body, look, side, stride * side)
    if look.legwear == "skirt":
        flare = waist * 1.15
        body.shape([(-waist * 0.8, 0.45), (waist * 0.8, 0.45), (flare, 0.71), (-flare, 0.71)], look.lower)
    if look.bag == "backpack" and body.across > -0.2:
        _backpack(body, look)
    _arm(body, look, sides[0], -stride * sides[0], waist)
    _torso(body, look, waist)
    _arm(body, look, sides[1], -stride * sides[1], waist)
    if look.bag == "backpack" and body.across <= -0.2:
        _backpack(body, look)
    if look.bag == "messenger":
        _messenger(body, look, waist)
    _head(body, look)


def _leg(body: _Body, look: PersonLook, side: int, stride: float) -> None:
    dim = 1.0 if body.near(side, 0) > -0.3 else 0.78
    hip = side * 0.05 * look.girth * body.across
    reach = stride * body.ahead * 0.13
    lift = 0.03 * max(0.0, stride * (abs(body.across) + 0.3))
    knee = (hip + reach * 0.55 + body.ahead * 0.02, 0.735)
    foot = (hip * 1.1 + reach, 0.95 - lift)
    thigh, shin = 0.088 * look.girth, 0.066 * look.girth
    cloth, skin = _shade(look.lower, dim), _shade(look.skin, dim)
    bare = look.legwear != "trousers"
    body.limb((foot[0], foot[1] + 0.015), (foot[0] + body.ahead * 0.05, foot[1] + 0.018), 0.045, look.shoes)
    body.limb(knee, foot, shin * (0.75 if bare else 1), skin if bare else cloth)
    skirt = look.legwear == "skirt"
    body.limb((hip, 0.5), knee, thigh * (0.8 if skirt else 1), skin if skirt else cloth)


def _arm(body: _Body, look: PersonLook, side: int, swing: float, waist: float) -> None:
    dim = 1.0 if body.near(side, 0) > -0.3 else 0.75
    shoulder = (side * waist * body.across * 0.98, 0.205)
    elbow = (shoulder[0] * 1.14 + swing * body.ahead * 0.07, 0.355)
    hand = (shoulder[0] * 1.16 + body.ahead * (swing * 0.13 + 0.03), 0.485)
    sleeve = _shade(look.second if look.sleeves == "second" else look.upper, dim * 0.9)
    skin = _shade(look.skin, dim)
    upper_arm = 0.06 * look.girth
    if dim == 1:  # its shadow sets the arm off from a torso of the same colour
        shadow = [body.at(x + 0.012, y + 0.01) for x, y in (shoulder, elbow, hand)]
        body.draw.line(shadow, (0, 0, 0, 60), round(upper_arm * body.scale))
    body.disc(*hand, 0.024, 0.022, skin)
    body.limb(elbow, hand, 0.046 if look.sleeves != "short" else 0.036, skin if look.sleeves == "short" else sleeve)
    body.limb(shoulder, elbow, upper_arm, sleeve)
    if look.bag == "handbag" and side == look.bag_side:
        (x, y), bag = hand, _shade(look.bag_colour, dim)
        body.limb(hand, (x, y + 0.05), 0.012, bag)
        half = 0.05 + 0.03 * abs(body.ahead)
        wide, top, bottom = half * 1.1, y + 0.05, y + 0.17
        body.shape([(x - half, top), (x + half, top), (x + wide, bottom), (x - wide, bottom)], bag)


def _torso(body: _Body, look: PersonLook, waist: float) -> None:
    body.limb((0, 0.12), (body.ahead * 0.01, 0.18), 0.05, _shade(look.skin, 0.85))
    top, hem = waist * 1.04, waist * (0.86 if look.hem < 0.6 else 1.02)
    half = [(0.03, 0.15), (top * 0.6, 0.165), (top * 0.93, 0.188), (top, 0.225), (waist * 0.86, 0.38), (hem, look.hem)]
    outline = half + [(-x, y) for x, y in reversed(half)]
    pixels = [body.at(*point) for point in outline]
    left, upper = (math.floor(min(p[axis] for p in pixels)) for axis in (0, 1))
    right, lower = (math.ceil(max(p[axis] for p in pixels)) + 1 for axis in (0, 1))
    mask = Image.new("L", (right - left, lower - upper))
    ImageDraw.Draw(mask).polygon([(x - left, y - upper) for x, y in pixels], fill=255)
    body.canvas.paste(_cloth(look, mask.size, body), (left, upper), mask)
    shadow = 1 if body.ahead < 0 else -1
    body.shape([(shadow * waist * 0.35, 0.19), (shadow * top, 0.215), (shadow * hem, look.hem),
                (shadow * waist * 0.5, look.hem)], (0, 0, 0, 38))  # fmt: skip
    if look.bag == "backpack" and body.across > 0.2:
        for side in (-1, 1):
            x = side * waist * 0.55
            body.limb((x, 0.175), (x, 0.36), 0.026, look.bag_colour)


def _cloth(look: PersonLook, size: tuple[int, int], body: _Body) -> Image.Image:
    """The upper garment's cloth, laid over the torso's box; unit lengths follow the body's scale."""
    cloth = Image.new("RGB", size, look.upper)
    pen, (width, height), second = ImageDraw.Draw(cloth), size, look.second
    step = body.scale * 0.075
    rows = [step * (0.9 + row) for row in range(int(height / step) + 1)]
    columns = [width / 2 + step * column for column in range(-4, 5)]
    half = step * 0.26
    if look.pattern in ("hoops", "checks"):
        for y in rows:
            pen.rectangle((0, y - half, width, y + half), fill=second)
    if look.pattern in ("bars", "checks"):
        for x in columns:
            pen.rectangle((x - half, 0, x + half, height), fill=second)
    if look.pattern == "dots":
        for row, y in enumerate(rows):
            for x in columns:
                centre = x + step / 2 * (row % 2)
                pen.ellipse((centre - half, y - half, centre + half, y + half), fill=second)
    if look.pattern == "halves":
        pen.rectangle((0, step * 2.4, width, height), fill=second)
    if look.pattern == "band":
        pen.rectangle((0, step * 1.1, width, step * 2.4), fill=second)
    if look.pattern == "sash":
        pen.line([(0, 0), (width, height * 0.9)], fill=second, width=round(step))
    if look.pattern == "logo" and abs(body.across) > 0.3:
        x, y, r = width / 2 + body.ahead * step * 0.6, step * 1.9, step * 0.9
        pen.ellipse((x - r * abs(body.across), y - r, x + r * abs(body.across), y + r), fill=second)
    if look.pattern == "jacket" and body.across > -0.3:  # open at the front: the shirt shows
        x, r = width / 2 + body.ahead * width * 0.35, width * 0.17
        pen.polygon([(x - r * 1.2, 0), (x + r * 1.2, 0), (x + r * 0.7, height), (x - r * 0.7, height)], fill=second)
    return cloth


def _backpack(body: _Body, look: PersonLook) -> None:
    x = -body.ahead * 0.115
    half = 0.088 * abs(body.across) + 0.055 * abs(body.ahead)
    for y, ry, factor in ((0.3, 0.115, 1.0), (0.345, 0.06, 0.72)):
        wide = half if factor == 1 else half * 0.75
        left, top = body.at(x - wide, y - ry)
        right, bottom = body.at(x + wide, y + ry)
        body.draw.rounded_rectangle(
            (left, top, right, bottom), radius=body.scale * 0.03, fill=_shade(look.bag_colour, factor)
        )


def _messenger(body: _Body, look: PersonLook, waist: float) -> None:
    side = look.bag_side
    x = side * body.across * waist * 0.95
    body.limb((-side * body.across * waist * 0.5, 0.175), (x, 0.45), 0.022, _shade(look.bag_colour, 0.75))
    if body.near(side, 0) > -0.5:
        half = 0.05 + 0.035 * abs(body.ahead)
        for bottom, factor in ((0.565, 1.0), (0.49, 0.75)):  # the bag, its flap
            corners = [(x - half, 0.44), (x + half, 0.44), (x + half, bottom), (x - half, bottom)]
            body.shape(corners, _shade(look.bag_colour, factor))


def _head(body: _Body, look: PersonLook) -> None:
    hair, ahead, across = look.hair, body.ahead, body.across
    if look.hair_style == "long":
        body.disc(-ahead * 0.025, 0.115, 0.062 - 0.012 * abs(ahead), 0.105, hair)
    if look.hair_style == "bun":
        body.disc(-ahead * 0.06, 0.035 if across < 0 else 0.02, 0.034, 0.032, _shade(hair, 0.9))
    body.disc(-ahead * 0.008, 0.072, 0.056, 0.068, hair)
    if across > -0.65:  # the face, turned out of sight from behind
        turn = 1 - 0.3 * abs(ahead) if across > 0 else 0.6 + across * 0.4
        body.disc(ahead * (0.052 - 0.05 * turn * 0.6), 0.087, 0.047 * turn, 0.056, look.skin)
    if look.hair_style == "cap":
        left, top = body.at(-0.062, 0.0)
        right, bottom = body.at(0.062, 0.125)
        body.draw.pieslice((left, top, right, bottom), 180, 360, fill=look.cap)
        if across > -0.4:
            body.disc(ahead * 0.055, 0.062, 0.05, 0.012, _shade(look.cap, 0.7))


# ------------------------------------------------------------------- vehicles


class _Shell(NamedTuple):
    """A body shape: its outline from the side, swept over its width. Metres; x runs from nose to tail."""

    length: float
    width: float
    outline: list[Point]
    """(x as a part of the length, height), from the bottom of the nose over the roof to the bottom of the tail."""
    glass: tuple[int, ...]
    """Edges of the outline that are windscreen and rear window: edge i joins points i and i + 1."""
    roof: int
    """The edge that is the roof."""
    upper: tuple[int, int]
    """First and last point of the part that a two-tone livery paints: the greenhouse, or a truck's box."""
    pane: tuple[float, float]
    """Lower and upper height of the side windows."""
    windows: list[tuple[float, float, float, float]]
    """x of each side window's corners: bottom front, top front, top rear, bottom rear."""
    wheels: tuple[float, float]
    wheel_radius: float
    flank: tuple[float, float]
    """Heights between which the side carries stickers."""


SHELLS: dict[str, _Shell] = {
    "sedan": _Shell(
        4.6, 1.8, [(0, 0.25), (0, 0.68), (0.04, 0.82), (0.27, 0.95), (0.42, 1.42), (0.66, 1.44), (0.83, 1.04),
                   (0.99, 1.0), (1, 0.7), (1, 0.3)],
        (3, 5), 4, (3, 6), (0.99, 1.37), [(0.33, 0.43, 0.53, 0.53), (0.55, 0.55, 0.65, 0.77)],
        (0.18, 0.8), 0.33, (0.36, 0.96)),
    "hatch": _Shell(
        3.9, 1.75, [(0, 0.25), (0, 0.72), (0.05, 0.86), (0.27, 1.0), (0.43, 1.5), (0.82, 1.52), (0.97, 1.02),
                    (1, 0.85), (1, 0.3)],
        (3, 5), 4, (3, 6), (1.03, 1.45), [(0.33, 0.45, 0.58, 0.58), (0.61, 0.61, 0.8, 0.88)],
        (0.19, 0.81), 0.32, (0.36, 1.0)),
    "suv": _Shell(
        4.6, 1.9, [(0, 0.36), (0, 0.92), (0.04, 1.08), (0.26, 1.18), (0.37, 1.74), (0.92, 1.78), (0.985, 1.2),
                   (1, 1.0), (1, 0.42)],
        (3, 5), 4, (3, 6), (1.21, 1.69), [(0.31, 0.4, 0.54, 0.54), (0.56, 0.56, 0.73, 0.73), (0.76, 0.76, 0.89, 0.93)],
        (0.19, 0.8), 0.4, (0.46, 1.17)),
    "van": _Shell(
        4.9, 1.95, [(0, 0.3), (0, 0.85), (0.03, 1.02), (0.13, 1.2), (0.25, 1.98), (0.97, 2.02), (1, 1.25), (1, 0.35)],
        (3, 5), 4, (3, 6), (1.22, 1.86), [(0.18, 0.27, 0.39, 0.39)],
        (0.17, 0.8), 0.35, (0.5, 1.9)),
    "pickup": _Shell(
        5.2, 1.9, [(0, 0.42), (0, 0.96), (0.03, 1.1), (0.27, 1.18), (0.36, 1.76), (0.56, 1.78), (0.6, 1.16),
                   (0.99, 1.14), (1, 0.9), (1, 0.5)],
        (3, 5), 4, (3, 6), (1.2, 1.69), [(0.31, 0.38, 0.46, 0.46), (0.475, 0.475, 0.54, 0.57)],
        (0.18, 0.79), 0.41, (0.5, 1.12)),
    "truck": _Shell(
        6.2, 2.2, [(0, 0.42), (0, 1.15), (0.03, 1.35), (0.07, 2.15), (0.25, 2.2), (0.26, 0.95), (0.29, 0.95),
                   (0.29, 2.8), (1, 2.8), (1, 0.6), (0.27, 0.6)],
        (2,), 7, (6, 10), (1.36, 2.0), [(0.08, 0.105, 0.2, 0.2)],
        (0.14, 0.8), 0.46, (1.0, 2.65)),
    "bus": _Shell(
        8.0, 2.4, [(0, 0.35), (0, 1.1), (0.02, 2.75), (0.05, 2.95), (0.98, 2.95), (1, 2.75), (1, 1.5), (1, 0.4)],
        (1, 5), 3, (1, 6), (1.4, 2.4), [(x, x, x + 0.12, x + 0.12) for x in (0.06, 0.2, 0.34, 0.48, 0.62, 0.76)],
        (0.2, 0.76), 0.48, (0.5, 1.35)),
}  # fmt: skip
GLASS: Colour = (54, 66, 78)
TYRE: Colour = (26, 26, 28)


class Sticker(NamedTuple):
    """A mark on both flanks of a vehicle."""

    along: float
    """Middle, from nose 0 to tail 1."""
    size: float
    """Part of the flank's height, 0 to 1."""
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
    """A new vehicle. Bodies and paints come from short lists, so identities share them and differ in the rest."""
    paint = _pick(rng, VEHICLE)

    def mark(likely: float) -> Colour | None:
        return _pick(rng, MARKS, other_than=paint) if rng.random() < likely else None

    return VehicleLook(
        body=str(rng.choice(list(SHELLS))),
        paint=paint,
        second=_pick(rng, MARKS, other_than=paint),
        livery=str(rng.choice(["plain", "plain", "upper", "stripe", "sill", "half"])),
        tint=float(rng.choice([0.4, 1.0, 1.6])),
        rims=str(rng.choice(["plain", "spokes", "dark"])),
        rim_colour=_pick(rng, ["grey", "white", "beige", "red"]),
        rack=_pick(rng, ["black", "red", "blue", "white"]) if rng.random() < 0.4 else None,
        stickers=tuple(
            Sticker(
                along + float(rng.uniform(-0.05, 0.05)),
                float(rng.uniform(0.6, 1.0)),
                str(rng.choice(["disc", "square", "diamond"])),
                _pick(rng, MARKS, other_than=paint),
            )
            for along in (0.46, 0.66)
            if rng.random() < 0.5
        ),
        bonnet=mark(0.5),
        tail=mark(0.5),
    )


class _Panel(NamedTuple):
    """One part of a vehicle that faces one way, with what is painted on it, in drawing order."""

    normal: tuple[float, float, float]
    layer: int
    """Panels of a lower layer are drawn first, whatever their distance."""
    faces: list[tuple[np.ndarray, Colour]]
    """Corners (n, 3) in metres, the origin on the ground under the middle; and the colour."""


class _Builder:
    """Turns a look into panels. Metres: x from nose (negative) to tail, y across, z up from the ground."""

    def __init__(self, look: VehicleLook) -> None:
        self.look, self.shell = look, SHELLS[look.body]
        self.height = max(z for _, z in self.shell.outline)
        self.belt = self.shell.pane[0]

    def half(self, z: float) -> float:
        """Half the width at a height: above the belt line the sides lean inwards."""
        lean = 0.16 if self.height < 1.9 else 0.04
        return self.shell.width / 2 * (1 - lean * max(0.0, z - self.belt) / (self.height - self.belt))

    def flat(self, points: list[Point], side: int) -> np.ndarray:
        """Points (part of the length, height) on one flank, -1 or 1."""
        return np.array([((x - 0.5) * self.shell.length, side * self.half(z), z) for x, z in points])

    def swept(self, edge: int, across: Point, along: Point) -> np.ndarray:
        """A quad on an edge's strip: across -1 to 1, along 0 to 1 from the edge's first point."""
        (x0, z0), (x1, z1) = self.shell.outline[edge], self.shell.outline[edge + 1]

        def corner(u: float, t: float) -> tuple[float, float, float]:
            z = z0 + (z1 - z0) * t
            return (x0 + (x1 - x0) * t - 0.5) * self.shell.length, u * self.half(z), z

        (left, right), (low, high) = across, along
        return np.array([corner(left, low), corner(right, low), corner(right, high), corner(left, high)])

    def strips(self) -> list[_Panel]:
        look, shell, panels = self.look, self.shell, []
        for edge in range(len(shell.outline) - 1):
            (x0, z0), (x1, z1) = shell.outline[edge], shell.outline[edge + 1]
            dx, dz = (x1 - x0) * shell.length, z1 - z0
            size = math.hypot(dx, dz)
            faces = [(self.swept(edge, (-1, 1), (0, 1)), self.tone(edge))]
            if edge in shell.glass:
                tinted = _shade(GLASS, look.tint)
                faces += [(self.swept(edge, (-0.88, 0.88), (0.08, 0.92)), tinted)]
                faces += [(self.swept(edge, (-0.8, -0.1), (0.5, 0.86)), _shade(tinted, 1.35))]
            panels.append(_Panel((-dz / size, 0.0, dx / size), 1, faces + self.marks(edge, size)))
        return panels

    def tone(self, edge: int) -> Colour:
        first, last = self.shell.upper
        two_tone = self.look.livery == "upper" or self.look.body == "truck"
        return self.look.second if two_tone and first <= edge < last else self.look.paint

    def marks(self, edge: int, size: float) -> list[tuple[np.ndarray, Colour]]:
        """Lights, grille, number plate, marks and roof rack of one strip."""
        look, shell, faces = self.look, self.shell, []
        tail = max(i for i, (x, _) in enumerate(shell.outline) if x == 1) - 1
        if edge == 0:
            faces += [(self.swept(0, (-0.5, 0.5), (0.3, 0.75)), (40, 40, 44))]
            faces += [(self.swept(0, (s * 0.6, s * 0.95), (0.5, 0.9)), (250, 246, 220)) for s in (-1, 1)]
            faces += [(self.swept(0, (-0.25, 0.25), (0.05, 0.27)), (236, 236, 240))]
        if edge == tail:
            lamp = (0.08, 0.42) if size < 1.5 else (0.84, 0.95)
            faces += [(self.swept(edge, (s * 0.7, s * 0.97), lamp), (206, 22, 26)) for s in (-1, 1)]
            faces += [(self.swept(edge, (-0.25, 0.25), (0.62, 0.84) if size < 1.5 else (0.86, 0.93)), (236, 236, 240))]
            if look.tail:
                faces += [(self.swept(edge, (-0.6, 0.1), (0.06, 0.56)), look.tail)]
        if edge == shell.glass[0] - 1 and look.bonnet:
            faces += [(self.swept(edge, (-0.35, 0.35), (0.0, 1.0)), look.bonnet)]
        if edge == shell.roof and look.rack:
            faces += self.rack()
        return faces

    def rack(self) -> list[tuple[np.ndarray, Colour]]:
        assert self.look.rack is not None
        faces = []
        for across in ((-0.85, -0.85), (0.85, 0.85)):  # rails, upright
            rail = self.swept(self.shell.roof, across, (0.06, 0.94))
            rail[[0, 3], 2] += 0.15
            faces.append((rail, self.look.rack))
        for along in (0.2, 0.5, 0.8):
            bar = self.swept(self.shell.roof, (-0.85, 0.85), (along, along))
            bar[:2, 2] += 0.15
            bar[2:, 2] += 0.04
            faces.append((bar, self.look.rack))
        return faces

    def flank(self, side: int) -> _Panel:
        """One side with its livery, windows, stickers and wheels."""
        look, shell = self.look, self.shell
        sill = min(z for _, z in shell.outline)
        faces = [(self.flat(shell.outline, side), look.paint)]
        if self.tone(shell.upper[0]) != look.paint:
            faces += [(self.flat(shell.outline[shell.upper[0] : shell.upper[1] + 1], side), look.second)]
        bottom, top = shell.flank
        bands = {"stripe": (0.03, 0.97, 0.35, 0.65), "sill": (0.0, 1.0, -0.1, 0.4), "half": (0.6, 0.99, 0.0, 0.95)}
        if look.livery in bands:
            x0, x1, low, high = bands[look.livery]
            z0, z1 = bottom + (top - bottom) * low, bottom + (top - bottom) * high
            band = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
            if look.body == "truck":
                band = [(max(x, 0.29), z) for x, z in band]
            faces += [(self.flat(band, side), look.second if look.body != "truck" else look.paint)]
        faces += [(self.flat([(0, sill), (1, sill), (1, sill + 0.09), (0, sill + 0.09)], side), (50, 50, 54))]
        low, high = shell.pane
        for a, b, c, d in shell.windows:
            faces += [(self.flat([(a, low), (b, high), (c, high), (d, low)], side), _shade(GLASS, look.tint))]
            shine = [((a + b) / 2, (low + high) / 2), (b, high), (c, high)]
            faces += [(self.flat(shine, side), _shade(GLASS, look.tint * 1.35))]
        for sticker in look.stickers:
            faces += [self.sticker(sticker, side)]
        for x in shell.wheels:
            faces += self.wheel(x, side)
        return _Panel((0.0, float(side), 0.0), 2, faces)

    def sticker(self, sticker: Sticker, side: int) -> tuple[np.ndarray, Colour]:
        bottom, top = self.shell.flank
        corners, turn = {"disc": (12, 0.0), "square": (4, math.pi / 4), "diamond": (4, 0.0)}[sticker.shape]
        r = sticker.size * (top - bottom) / 2
        round_ = [turn + 2 * math.pi * k / corners for k in range(corners)]
        middle = (bottom + top) / 2
        points = [(sticker.along + r * math.cos(a) / self.shell.length, middle + r * math.sin(a)) for a in round_]
        return self.flat(points, side), sticker.colour

    def wheel(self, x: float, side: int) -> list[tuple[np.ndarray, Colour]]:
        look, r = self.look, self.shell.wheel_radius

        def ring(radius: float, start: float = 0.0, stop: float = 2 * math.pi, corners: int = 14) -> np.ndarray:
            angles = [start + (stop - start) * k / corners for k in range(corners + 1)]
            points = [(x + radius * math.cos(a) / self.shell.length, r + radius * math.sin(a)) for a in angles]
            return self.flat(points, side)

        faces = [(ring(r * 1.18), _shade(TYRE, 0.6)), (ring(r), TYRE)]
        if look.rims == "dark":
            return [*faces, (ring(r * 0.68), look.rim_colour), (ring(r * 0.54), (44, 44, 48))]
        faces += [(ring(r * 0.7), look.rim_colour)]
        if look.rims == "spokes":
            for k in range(4):
                hole = ring(r * 0.6, k * math.pi / 2, k * math.pi / 2 + 0.8, 2)
                faces += [(np.concatenate([hole, self.flat([(x, r)], side)]), (50, 50, 54))]
        return faces

    def underneath(self) -> _Panel:
        """The wheels as seen along the road and the dark underside."""
        shell = self.shell
        low, x0, x1 = shell.wheel_radius, 0.03, 0.97
        half = shell.width / 2
        faces = []
        for x in shell.wheels:
            for side in (-1, 1):
                at = (x - 0.5) * shell.length
                corners = [(at, side * half * 0.66, 0.0), (at, side * half * 0.97, 0.0)]
                corners += [(at, side * half * 0.97, low * 1.4), (at, side * half * 0.66, low * 1.4)]
                faces += [(np.array(corners), TYRE)]
        base = [(x0, -1), (x1, -1), (x1, 1), (x0, 1)]
        faces += [(np.array([((x - 0.5) * shell.length, y * half * 0.95, low) for x, y in base]), (30, 30, 32))]
        return _Panel((0.0, 0.0, 1.0), 0, faces)


class Model(NamedTuple):
    """A vehicle ready to be turned: all corners in one array, and panels that point into it."""

    corners: np.ndarray
    panels: list[tuple[np.ndarray, int, list[tuple[int, int, Colour]]]]
    """(normal, layer, faces as (start, stop, colour))."""


@functools.lru_cache(maxsize=32)
def _model(look: VehicleLook) -> Model:
    builder = _Builder(look)
    corners, panels, count = [], [], 0
    for panel in [builder.underneath(), *builder.strips(), builder.flank(-1), builder.flank(1)]:
        faces = []
        for points, colour in panel.faces:
            faces.append((count, count + len(points), colour))
            corners.append(points)
            count += len(points)
        panels.append((np.array(panel.normal), panel.layer, faces))
    return Model(np.concatenate(corners), panels)


class Projection(NamedTuple):
    """A vehicle as one camera sees it, in metres on the picture plane (y down), before it is placed."""

    look: VehicleLook
    points: np.ndarray
    distance: np.ndarray
    toward: np.ndarray
    """Unit vector from the vehicle to the camera."""
    right: np.ndarray
    """Unit vector that points right in the picture."""
    ground: np.ndarray
    """Corners (4, 2) of its shadow."""


def project_vehicle(look: VehicleLook, *, angle: float, tilt: float) -> Projection:
    """Turns a vehicle by `angle` (0: nose to the left, pi/2: nose to the camera) under a camera that looks
    down by `tilt`; radians. Weak perspective from 16 m."""
    model, shell = _model(look), SHELLS[look.body]
    x, y = shell.length / 2 * 1.03, shell.width / 2 * 1.08
    ground = np.array([(-x, -y, 0.0), (x, -y, 0.0), (x, y, 0.0), (-x, y, 0.0)])
    right = np.array([math.cos(angle), -math.sin(angle), 0.0])
    away = np.array([math.sin(angle), math.cos(angle), 0.0])
    up = away * math.sin(tilt) + np.array([0.0, 0.0, math.cos(tilt)])
    toward = -away * math.cos(tilt) + np.array([0.0, 0.0, math.sin(tilt)])

    def flat(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = -(corners @ toward)
        return np.stack([corners @ right, -(corners @ up)], 1) / (1 + distance / 16)[:, None], distance

    points, distance = flat(model.corners)
    return Projection(look, points, distance, toward, right, flat(ground)[0])


def draw_vehicle(canvas: Image.Image, view: Projection, *, origin: Point, scale: float, light: float) -> None:
    """Draws a projected vehicle, `scale` pixels a metre; `light` is where the sun stands, -1 left to 1 right."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.polygon((view.ground * scale + origin).ravel().tolist(), fill=(0, 0, 0, 95))
    points = view.points * scale + origin
    ordered = sorted(
        (panel for panel in _model(view.look).panels if panel[0] @ view.toward > 0 or panel[1] == 0),
        key=lambda panel: (panel[1], -float(view.distance[panel[2][0][0] : panel[2][0][1]].mean())),
    )
    for normal, _, faces in ordered:
        bright = 0.84 + 0.22 * float(normal[2]) + 0.16 * light * float(normal @ view.right)
        for start, stop, colour in faces:
            draw.polygon(points[start:stop].ravel().tolist(), fill=_shade(colour, bright))


# -------------------------------------------------------------------- cameras


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What one camera does to everything it sees."""

    angle: float
    """The side of the subject it mostly sees, radians."""
    tilt: float
    """How far it looks down, radians."""
    gains: tuple[float, float, float]
    """Factors for red, green and blue."""
    exposure: float
    contrast: float
    gamma: float
    blur: float
    """Radius in pixels of the picture."""
    noise: float
    """Standard deviation, in parts of 255."""
    quality: int
    """JPEG quality."""
    crowding: float
    """Probability that something stands in the way."""
    light: float
    """Where the light comes from, -1 left to 1 right."""
    backdrop: Image.Image
    """A panorama at drawing size; each picture shows a piece of it."""


BACKDROP = (640, 480)
GROUNDS: list[Colour] = [
    (150, 148, 144),
    (118, 118, 122),
    (176, 164, 142),
    (104, 128, 84),
    (158, 116, 96),
    (186, 188, 190),
]
WALLS: list[Colour] = [(188, 180, 166), (150, 98, 78), (130, 140, 150), (92, 118, 80), (206, 204, 198), (168, 150, 110)]
GREENS: list[Colour] = [(52, 92, 44), (74, 118, 54), (38, 72, 40), (104, 134, 62)]


def make_camera(rng: np.random.Generator) -> Camera:
    """A new camera with its place."""
    return Camera(
        angle=float(rng.uniform(0, 2 * math.pi)),
        tilt=float(rng.uniform(0.06, 0.38)),
        gains=(float(rng.uniform(0.76, 1.24)), float(rng.uniform(0.84, 1.12)), float(rng.uniform(0.76, 1.24))),
        exposure=float(rng.uniform(0.75, 1.3)),
        contrast=float(rng.uniform(0.72, 1.15)),
        gamma=float(rng.uniform(0.8, 1.3)),
        blur=float(rng.uniform(0.1, 1.0)),
        noise=float(rng.uniform(2, 9)),
        quality=int(rng.integers(45, 93)),
        crowding=float(rng.uniform(0.15, 0.4)),
        light=float(rng.uniform(-1, 1)),
        backdrop=_backdrop(rng),
    )


def _backdrop(rng: np.random.Generator) -> Image.Image:
    """A street, square or park: a wall or greenery over a ground, cluttered and out of focus."""
    width, height = BACKDROP
    wall, ground = WALLS[rng.integers(len(WALLS))], GROUNDS[rng.integers(len(GROUNDS))]
    picture = Image.new("RGB", BACKDROP, wall)
    draw = ImageDraw.Draw(picture)
    horizon = height * float(rng.uniform(0.35, 0.6))
    for _ in range(int(rng.integers(8, 22))):  # windows, doors, posters
        x, y = rng.uniform(0, width), rng.uniform(0, horizon * 0.8)
        w, h = rng.uniform(20, 80), rng.uniform(20, 100)
        vivid = rng.random() < 0.25
        fill = _pick(rng, list(PAINTS)) if vivid else _shade(wall, float(rng.uniform(0.55, 1.25)))
        draw.rectangle((x, y, x + w, min(y + h, horizon)), fill=fill)
    draw.rectangle((0, horizon, width, height), fill=ground)
    for _ in range(int(rng.integers(2, 9))):  # kerbs, joints, lane marks
        y, tone = rng.uniform(horizon, height), _shade(ground, float(rng.uniform(0.75, 1.25)))
        draw.line((0, y, width, y + rng.uniform(-60, 60)), fill=tone, width=int(rng.integers(3, 14)))
    for _ in range(int(rng.integers(0, 7))):
        _foliage(draw, rng, rng.uniform(0, width), horizon - rng.uniform(0, 40), 60)
    for _ in range(int(rng.integers(0, 5))):  # posts
        x = rng.uniform(0, width)
        draw.rectangle((x, rng.uniform(0, horizon), x + rng.uniform(4, 14), horizon + 40), fill=_shade(wall, 0.6))
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4))))


def _foliage(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    spots = rng.normal(size=(22, 2)) * size * 0.4 + (x, y)
    tones = rng.integers(len(GREENS), size=22)
    for (a, b), tone, r in zip(spots.tolist(), tones.tolist(), rng.uniform(0.1, 0.28, 22).tolist(), strict=True):
        draw.ellipse((a - r * size, b - r * size, a + r * size, b + r * size), fill=GREENS[tone])


def _obstruct(canvas: Image.Image, rng: np.random.Generator, camera: Camera) -> None:
    """Puts a pole, a box, foliage or a passer-by before the subject; at most about a third is hidden."""
    width, height = canvas.size
    draw = ImageDraw.Draw(canvas)
    kind = rng.choice(["pole", "box", "foliage", "passer-by"])
    left = rng.random() < 0.5
    if kind == "pole":
        x, thick = width * rng.uniform(0.15, 0.85), width * rng.uniform(0.05, 0.12)
        tone = GROUNDS[rng.integers(len(GROUNDS))]
        draw.rectangle((x, 0, x + thick, height), fill=_shade(tone, 0.7))
        draw.rectangle((x, 0, x + thick * 0.4, height), fill=_shade(tone, 0.95))
    elif kind == "box":
        w, h = width * rng.uniform(0.35, 0.7), height * rng.uniform(0.12, 0.32)
        x, tone = (0 if left else width - w), _pick(rng, ["brown", "beige", "grey", "green", "blue"])
        draw.rectangle((x, height - h, x + w, height), fill=tone)
        draw.rectangle((x, height - h, x + w, height - h * 0.8), fill=_shade(tone, 1.2))
    elif kind == "foliage":
        _foliage(draw, rng, 0 if left else width, height * rng.uniform(0.3, 1.0), min(width, height) * 0.5)
    else:
        x = width * (rng.uniform(-0.1, 0.12) if left else rng.uniform(0.88, 1.1))
        tall, angle = height * rng.uniform(0.85, 1.0), float(rng.uniform(0, 2 * math.pi))
        draw_person(canvas, person_look(rng), rng, x=x, y=height * 0.08, scale=tall, angle=angle, tilt=camera.tilt)


def _piece(camera: Camera, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    x, y = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(BACKDROP, size, strict=True))
    return camera.backdrop.crop((x, y, x + size[0], y + size[1]))


def _facing(camera: Camera, rng: np.random.Generator) -> float:
    """Mostly the camera's own side of the subject, sometimes any."""
    return float(rng.normal(camera.angle, 0.6) if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi))


def photograph_person(
    look: PersonLook | None, camera: Camera, rng: np.random.Generator, *, part: bool = False
) -> bytes:
    """A JPEG of 64 x 128 pixels: a pedestrian, `part` of one (a bad box), or with None the background."""
    factor = 3
    canvas = _piece(camera, rng, (64 * factor, 128 * factor))
    width, height = canvas.size
    scale = height * float(rng.uniform(0.78, 1.06))
    x, y = (width * float(rng.uniform(0.38, 0.62)), (height - scale) * 0.5 + height * float(rng.uniform(-0.05, 0.05)))
    if part:
        scale *= float(rng.uniform(1.5, 2.4))
        x, y = width * float(rng.uniform(0, 1)), height * float(rng.uniform(-1.2, 0.4))
    if look is not None:
        draw_person(canvas, look, rng, x=x, y=y, scale=scale, angle=_facing(camera, rng), tilt=camera.tilt)
        if rng.random() < camera.crowding:
            _obstruct(canvas, rng, camera)
    return _develop(canvas, factor, camera, rng)


def photograph_vehicle(look: VehicleLook, camera: Camera, rng: np.random.Generator) -> bytes:
    """A JPEG 128 pixels wide and 96 to 128 high, as the vehicle's own proportions ask."""
    factor = 2
    view = project_vehicle(look, angle=_facing(camera, rng), tilt=0.08 + camera.tilt * float(rng.uniform(0.7, 1.1)))
    low, high = view.points.min(0), view.points.max(0)
    across, tall = (high - low).tolist()
    fill = float(rng.uniform(0.82, 0.98))
    rows = int(np.clip(round(128 * tall / across / 0.9), 96, 128))
    canvas = _piece(camera, rng, (128 * factor, rows * factor))
    width, height = canvas.size
    scale = min(width / across, height / tall) * fill
    middle = (low + high) / 2 * scale
    x = width * float(rng.uniform(0.46, 0.54)) - float(middle[0])
    y = height * float(rng.uniform(0.46, 0.54)) - float(middle[1])
    draw_vehicle(canvas, view, origin=(x, y), scale=scale, light=camera.light)
    if rng.random() < camera.crowding:
        _obstruct(canvas, rng, camera)
    return _develop(canvas, factor, camera, rng)


def _develop(canvas: Image.Image, factor: int, camera: Camera, rng: np.random.Generator) -> bytes:
    """The lens, the sensor and the file: averages down, blurs, casts, exposes, adds noise and compresses."""
    picture = canvas.reduce(factor).filter(ImageFilter.GaussianBlur(camera.blur * float(rng.uniform(0.5, 1.5))))
    exposure = camera.exposure * float(rng.uniform(0.78, 1.22))
    ramp = np.arange(256) / 255
    curve = 0.5 + (np.minimum(ramp * exposure, 1.3) ** camera.gamma - 0.5) * camera.contrast
    gains = camera.gains * rng.uniform(0.93, 1.07, 3)
    table = np.clip(np.outer(gains, curve) * 255, 0, 255).astype(np.uint8)
    pixels = np.asarray(picture.point(table.ravel().tolist()), np.float32)
    across = np.linspace(-1, 1, pixels.shape[1], dtype=np.float32)
    light = 1 + across[None, :] * np.float32(camera.light * rng.uniform(0, 0.2))
    if rng.random() < 0.4:  # something out of sight casts its shadow over a part of the picture
        down = np.linspace(-1, 1, pixels.shape[0], dtype=np.float32)
        turn, edge = rng.uniform(0, 2 * math.pi), rng.uniform(-0.4, 0.5)
        depth = np.float32(rng.uniform(0.2, 0.5))
        beyond = math.cos(turn) * across[None, :] + math.sin(turn) * down[:, None] - edge
        light = light * (1 - depth * np.clip(beyond * 8, 0, 1))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(camera.noise)
    pixels = pixels * light[:, :, None] + noise
    developed = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    developed.save(file, "JPEG", quality=int(np.clip(camera.quality + rng.integers(-8, 9), 30, 95)))
    return file.getvalue()
