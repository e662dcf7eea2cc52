"""Draws pedestrians. A look is what one keeps in every picture: clothes, bag, hair."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from data.drawing.paint import HAIRS, LOWER, MARKS, PATTERNS, SKINS, UPPER, Colour, Point, pick, shade


@dataclass(frozen=True, kw_only=True)
class PersonLook:
    upper: Colour
    second: Colour
    pattern: str
    sleeves: str
    hem: float
    """Where the upper garment ends, in body heights below the top of the head; 0.5 is the hip."""
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
    """-1: carried on the right; 1: on the left."""
    girth: float
    height: float


def person_look(rng: np.random.Generator) -> PersonLook:
    """A new pedestrian. Colours come from short lists: identities share them and differ in the rest."""
    upper = pick(rng, UPPER)
    return PersonLook(
        upper=upper,
        second=pick(rng, UPPER, other_than=upper),
        pattern=str(rng.choice(PATTERNS)),
        sleeves=str(rng.choice(["long", "long", "short", "second"])),
        hem=float(rng.choice([0.5, 0.5, 0.54, 0.66])),
        lower=pick(rng, LOWER),
        legwear=str(rng.choice(["trousers", "trousers", "shorts", "skirt"])),
        shoes=pick(rng, ["white", "black", "red", "brown"]),
        hair=HAIRS[rng.integers(len(HAIRS))],
        hair_style=str(rng.choice(["short", "short", "long", "long", "bun", "cap"])),
        cap=pick(rng, MARKS),
        skin=SKINS[rng.integers(len(SKINS))],
        bag=str(rng.choice(["none", "none", "backpack", "backpack", "messenger", "handbag"])),
        bag_colour=pick(rng, MARKS, other_than=upper),
        bag_side=int(rng.choice([-1, 1])),
        girth=float(rng.uniform(0.88, 1.2)),
        height=float(rng.uniform(0.93, 1.05)),
    )


class _Body:
    """A body's pose, and a pen in body units: the height is 1, y runs from 0 (top of the head) to 1 (soles).

    `across` and `ahead` are the shares of the body's width and depth that the picture shows: (1, 0) faces the camera,
    (-1, 0) turns its back to it, (0, 1) walks to the right. A part that is (side, forward) away from the body's axis
    appears at side * across + forward * ahead, and in front of the axis where near(side, forward) > 0.
    """

    def __init__(self, canvas: Image.Image, x: float, y: float, scale: float, angle: float, tilt: float) -> None:
        self.canvas, self.draw = canvas, ImageDraw.Draw(canvas, "RGBA")
        self.x, self.y, self.scale, self.tilt = x, y, scale, tilt
        self.across, self.ahead = math.cos(angle), math.sin(angle)

    def near(self, side: float, forward: float) -> float:
        return forward * self.across - side * self.ahead

    def at(self, x: float, y: float) -> Point:
        """The pixel of a body point. A camera that looks down (tilt > 0) enlarges the upper body."""
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
    """Draws a walking pedestrian, `scale` pixels tall, turned by `angle` radians; (x, y) is the top of the head."""
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
    cloth, skin = shade(look.lower, dim), shade(look.skin, dim)
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
    sleeve = shade(look.second if look.sleeves == "second" else look.upper, dim * 0.9)
    skin = shade(look.skin, dim)
    upper_arm = 0.06 * look.girth
    if dim == 1:  # the arm's shadow, so that it shows before a torso of the same colour
        shadow = [body.at(x + 0.012, y + 0.01) for x, y in (shoulder, elbow, hand)]
        body.draw.line(shadow, (0, 0, 0, 60), round(upper_arm * body.scale))
    body.disc(*hand, 0.024, 0.022, skin)
    body.limb(elbow, hand, 0.046 if look.sleeves != "short" else 0.036, skin if look.sleeves == "short" else sleeve)
    body.limb(shoulder, elbow, upper_arm, sleeve)
    if look.bag == "handbag" and side == look.bag_side:
        (x, y), bag = hand, shade(look.bag_colour, dim)
        body.limb(hand, (x, y + 0.05), 0.012, bag)
        half = 0.05 + 0.03 * abs(body.ahead)
        wide, top, bottom = half * 1.1, y + 0.05, y + 0.17
        body.shape([(x - half, top), (x + half, top), (x + wide, bottom), (x - wide, bottom)], bag)


def _torso(body: _Body, look: PersonLook, waist: float) -> None:
    body.limb((0, 0.12), (body.ahead * 0.01, 0.18), 0.05, shade(look.skin, 0.85))
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
    """The upper garment's cloth, as large as the torso's box; its pattern grows with the body."""
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
            (left, top, right, bottom), radius=body.scale * 0.03, fill=shade(look.bag_colour, factor)
        )


def _messenger(body: _Body, look: PersonLook, waist: float) -> None:
    side = look.bag_side
    x = side * body.across * waist * 0.95
    body.limb((-side * body.across * waist * 0.5, 0.175), (x, 0.45), 0.022, shade(look.bag_colour, 0.75))
    if body.near(side, 0) > -0.5:
        half = 0.05 + 0.035 * abs(body.ahead)
        for bottom, factor in ((0.565, 1.0), (0.49, 0.75)):  # the bag, its flap
            corners = [(x - half, 0.44), (x + half, 0.44), (x + half, bottom), (x - half, bottom)]
            body.shape(corners, shade(look.bag_colour, factor))


def _head(body: _Body, look: PersonLook) -> None:
    hair, ahead, across = look.hair, body.ahead, body.across
    if look.hair_style == "long":
        body.disc(-ahead * 0.025, 0.115, 0.062 - 0.012 * abs(ahead), 0.105, hair)
    if look.hair_style == "bun":
        body.disc(-ahead * 0.06, 0.035 if across < 0 else 0.02, 0.034, 0.032, shade(hair, 0.9))
    body.disc(-ahead * 0.008, 0.072, 0.056, 0.068, hair)
    if across > -0.65:  # the face, unless the head is turned away
        turn = 1 - 0.3 * abs(ahead) if across > 0 else 0.6 + across * 0.4
        body.disc(ahead * (0.052 - 0.05 * turn * 0.6), 0.087, 0.047 * turn, 0.056, look.skin)
    if look.hair_style == "cap":
        left, top = body.at(-0.062, 0.0)
        right, bottom = body.at(0.062, 0.125)
        body.draw.pieslice((left, top, right, bottom), 180, 360, fill=look.cap)
        if across > -0.4:
            body.disc(ahead * 0.055, 0.062, 0.05, 0.012, shade(look.cap, 0.7))
