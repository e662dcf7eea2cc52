"""Draws vehicles: builds the body that a look describes, turns it to a camera and paints it."""

import functools
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from data.drawing.paint import Colour, Point, shade
from data.drawing.vehicle_looks import SHELLS, Sticker, VehicleLook

GLASS: Colour = (54, 66, 78)
TYRE: Colour = (26, 26, 28)


class _Panel(NamedTuple):
    """One side of a vehicle, which faces one way, with what is painted on it, in drawing order."""

    normal: tuple[float, float, float]
    layer: int
    """Panels with a lower layer are drawn first, whatever their distance."""
    faces: list[tuple[np.ndarray, Colour]]
    """Each face's corners (n, 3), in metres from the point on the ground under the middle, and its colour."""


class _Builder:
    """Turns a look into panels. Metres: x from nose (negative) to tail, y across, z up from the ground."""

    def __init__(self, look: VehicleLook) -> None:
        self.look, self.shell = look, SHELLS[look.body]
        self.height = max(z for _, z in self.shell.outline)
        self.belt = self.shell.pane[0]

    def half(self, z: float) -> float:
        """Half the width at a height. Above the windows' lower edge the sides lean inwards."""
        lean = 0.16 if self.height < 1.9 else 0.04
        return self.shell.width / 2 * (1 - lean * max(0.0, z - self.belt) / (self.height - self.belt))

    def flat(self, points: list[Point], side: int) -> np.ndarray:
        """Points (share of the length, height) on the flank `side`, -1 or 1."""
        return np.array([((x - 0.5) * self.shell.length, side * self.half(z), z) for x, z in points])

    def swept(self, edge: int, across: Point, along: Point) -> np.ndarray:
        """A quad on the strip that an edge sweeps: -1 to 1 across it, 0 to 1 along it from the edge's first point."""
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
                tinted = shade(GLASS, look.tint)
                faces += [(self.swept(edge, (-0.88, 0.88), (0.08, 0.92)), tinted)]
                faces += [(self.swept(edge, (-0.8, -0.1), (0.5, 0.86)), shade(tinted, 1.35))]
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
            faces += [(self.flat([(a, low), (b, high), (c, high), (d, low)], side), shade(GLASS, look.tint))]
            shine = [((a + b) / 2, (low + high) / 2), (b, high), (c, high)]
            faces += [(self.flat(shine, side), shade(GLASS, look.tint * 1.35))]
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

        faces = [(ring(r * 1.18), shade(TYRE, 0.6)), (ring(r), TYRE)]
        if look.rims == "dark":
            return [*faces, (ring(r * 0.68), look.rim_colour), (ring(r * 0.54), (44, 44, 48))]
        faces += [(ring(r * 0.7), look.rim_colour)]
        if look.rims == "spokes":
            for k in range(4):
                hole = ring(r * 0.6, k * math.pi / 2, k * math.pi / 2 + 0.8, 2)
                faces += [(np.concatenate([hole, self.flat([(x, r)], side)]), (50, 50, 54))]
        return faces

    def underneath(self) -> _Panel:
        """The wheels, seen along the road, and the dark underside."""
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


@functools.lru_cache(maxsize=32)
def _panels(look: VehicleLook) -> tuple[list[_Panel], np.ndarray]:
    """A vehicle's panels, and the corners of all of their faces in one array, which is turned at once."""
    builder = _Builder(look)
    panels = [builder.underneath(), *builder.strips(), builder.flank(-1), builder.flank(1)]
    return panels, np.concatenate([corners for panel in panels for corners, _ in panel.faces])


class Projection(NamedTuple):
    """A vehicle as one camera sees it, in metres on the picture's plane (y down), not yet placed in a picture."""

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
    """A vehicle turned by `angle` (0: nose to the left, pi/2: nose to the camera), seen by a camera that looks down by
    `tilt`; both in radians. The perspective is weak, from 16 m."""
    shell = SHELLS[look.body]
    x, y = shell.length / 2 * 1.03, shell.width / 2 * 1.08
    ground = np.array([(-x, -y, 0.0), (x, -y, 0.0), (x, y, 0.0), (-x, y, 0.0)])
    right = np.array([math.cos(angle), -math.sin(angle), 0.0])
    away = np.array([math.sin(angle), math.cos(angle), 0.0])
    up = away * math.sin(tilt) + np.array([0.0, 0.0, math.cos(tilt)])
    toward = -away * math.cos(tilt) + np.array([0.0, 0.0, math.sin(tilt)])

    def flat(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = -(corners @ toward)
        return np.stack([corners @ right, -(corners @ up)], 1) / (1 + distance / 16)[:, None], distance

    points, distance = flat(_panels(look)[1])
    return Projection(look, points, distance, toward, right, flat(ground)[0])


def draw_vehicle(canvas: Image.Image, view: Projection, *, origin: Point, scale: float, light: float) -> None:
    """Draws a vehicle with `scale` pixels a metre; the sun stands at `light`, from -1 (left) to 1 (right)."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.polygon((view.ground * scale + origin).ravel().tolist(), fill=(0, 0, 0, 95))
    points = view.points * scale + origin
    visible, start = [], 0
    for panel in _panels(view.look)[0]:
        if np.dot(panel.normal, view.toward) > 0 or panel.layer == 0:
            distance = view.distance[start : start + len(panel.faces[0][0])].mean()
            visible.append((panel.layer, -float(distance), start, panel))
        start += sum(len(corners) for corners, _ in panel.faces)
    for _, _, start, panel in sorted(visible, key=lambda entry: entry[:2]):
        bright = 0.84 + 0.22 * float(panel.normal[2]) + 0.16 * light * float(np.dot(panel.normal, view.right))
        for corners, colour in panel.faces:
            draw.polygon(points[start : start + len(corners)].ravel().tolist(), fill=shade(colour, bright))
            start += len(corners)
