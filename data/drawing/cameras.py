"""Photographs pedestrians and vehicles as different cameras would see them.

camera = make_camera(rng)
jpeg = photograph_person(person_look(rng), camera, rng)
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.drawing.paint import PAINTS, Colour, pick, shade
from data.drawing.people import PersonLook, draw_person, person_look
from data.drawing.vehicles import VehicleLook, draw_vehicle, project_vehicle


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What one camera does to every picture that it takes."""

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
    """Standard deviation, in grey levels of 255."""
    quality: int
    """JPEG quality."""
    crowding: float
    """Probability that something stands in the way."""
    light: float
    """Where the light comes from, -1 left to 1 right."""
    backdrop: Image.Image
    """A panorama; each picture shows a piece of it behind the subject."""


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
    """A street, square or park: a wall above a ground, with clutter, out of focus."""
    width, height = BACKDROP
    wall, ground = WALLS[rng.integers(len(WALLS))], GROUNDS[rng.integers(len(GROUNDS))]
    picture = Image.new("RGB", BACKDROP, wall)
    draw = ImageDraw.Draw(picture)
    horizon = height * float(rng.uniform(0.35, 0.6))
    for _ in range(int(rng.integers(8, 22))):  # windows, doors, posters
        x, y = rng.uniform(0, width), rng.uniform(0, horizon * 0.8)
        w, h = rng.uniform(20, 80), rng.uniform(20, 100)
        vivid = rng.random() < 0.25
        fill = pick(rng, list(PAINTS)) if vivid else shade(wall, float(rng.uniform(0.55, 1.25)))
        draw.rectangle((x, y, x + w, min(y + h, horizon)), fill=fill)
    draw.rectangle((0, horizon, width, height), fill=ground)
    for _ in range(int(rng.integers(2, 9))):  # kerbs, joints, lane marks
        y, tone = rng.uniform(horizon, height), shade(ground, float(rng.uniform(0.75, 1.25)))
        draw.line((0, y, width, y + rng.uniform(-60, 60)), fill=tone, width=int(rng.integers(3, 14)))
    for _ in range(int(rng.integers(0, 7))):
        _foliage(draw, rng, rng.uniform(0, width), horizon - rng.uniform(0, 40), 60)
    for _ in range(int(rng.integers(0, 5))):  # posts
        x = rng.uniform(0, width)
        draw.rectangle((x, rng.uniform(0, horizon), x + rng.uniform(4, 14), horizon + 40), fill=shade(wall, 0.6))
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4))))


def _foliage(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    spots = rng.normal(size=(22, 2)) * size * 0.4 + (x, y)
    tones = rng.integers(len(GREENS), size=22)
    for (a, b), tone, r in zip(spots.tolist(), tones.tolist(), rng.uniform(0.1, 0.28, 22).tolist(), strict=True):
        draw.ellipse((a - r * size, b - r * size, a + r * size, b + r * size), fill=GREENS[tone])


def _obstruct(canvas: Image.Image, rng: np.random.Generator, camera: Camera) -> None:
    """Puts a pole, a box, foliage or a passer-by before the subject. That hides about a third of it at most."""
    width, height = canvas.size
    draw = ImageDraw.Draw(canvas)
    kind = str(rng.choice(["pole", "box", "foliage", "passer-by"]))
    left = rng.random() < 0.5
    match kind:
        case "pole":
            x, thick = width * rng.uniform(0.15, 0.85), width * rng.uniform(0.05, 0.12)
            tone = GROUNDS[rng.integers(len(GROUNDS))]
            draw.rectangle((x, 0, x + thick, height), fill=shade(tone, 0.7))
            draw.rectangle((x, 0, x + thick * 0.4, height), fill=shade(tone, 0.95))
        case "box":
            w, h = width * rng.uniform(0.35, 0.7), height * rng.uniform(0.12, 0.32)
            x, tone = (0 if left else width - w), pick(rng, ["brown", "beige", "grey", "green", "blue"])
            draw.rectangle((x, height - h, x + w, height), fill=tone)
            draw.rectangle((x, height - h, x + w, height - h * 0.8), fill=shade(tone, 1.2))
        case "foliage":
            _foliage(draw, rng, 0 if left else width, height * rng.uniform(0.3, 1.0), min(width, height) * 0.5)
        case "passer-by":
            x = width * (rng.uniform(-0.1, 0.12) if left else rng.uniform(0.88, 1.1))
            tall, angle = height * rng.uniform(0.85, 1.0), float(rng.uniform(0, 2 * math.pi))
            draw_person(canvas, person_look(rng), rng, x=x, y=height * 0.08, scale=tall, angle=angle, tilt=camera.tilt)
        case _:
            raise AssertionError(kind)


def _piece(camera: Camera, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    x, y = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(BACKDROP, size, strict=True))
    return camera.backdrop.crop((x, y, x + size[0], y + size[1]))


def _facing(camera: Camera, rng: np.random.Generator) -> float:
    """The angle to which the subject is turned: mostly the camera's own, sometimes any."""
    return float(rng.normal(camera.angle, 0.6) if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi))


def photograph_person(
    look: PersonLook | None, camera: Camera, rng: np.random.Generator, *, part: bool = False
) -> bytes:
    """A JPEG of 64 x 128 pixels: a pedestrian, a `part` of one (a bad box), or with None the background alone."""
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
    """A JPEG 128 pixels wide and 96 to 128 high, in the vehicle's proportions as far as that allows."""
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
    """What lens, sensor and file do: reduce by `factor`, blur, colour, expose, add noise, compress."""
    picture = canvas.reduce(factor).filter(ImageFilter.GaussianBlur(camera.blur * float(rng.uniform(0.5, 1.5))))
    exposure = camera.exposure * float(rng.uniform(0.78, 1.22))
    ramp = np.arange(256) / 255
    curve = 0.5 + (np.minimum(ramp * exposure, 1.3) ** camera.gamma - 0.5) * camera.contrast
    gains = camera.gains * rng.uniform(0.93, 1.07, 3)
    table = np.clip(np.outer(gains, curve) * 255, 0, 255).astype(np.uint8)
    pixels = np.asarray(picture.point(table.ravel().tolist()), np.float32)
    across = np.linspace(-1, 1, pixels.shape[1], dtype=np.float32)
    light = 1 + across[None, :] * np.float32(camera.light * rng.uniform(0, 0.2))
    if rng.random() < 0.4:  # the shadow of something out of sight falls over a part of the picture
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
