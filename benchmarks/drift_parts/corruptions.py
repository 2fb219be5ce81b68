"""What happens to a camera or a pipeline, at three strengths each, on real pictures at their own size."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

__all__ = ["CORRUPTIONS", "corrupted", "one_frame"]

Picture = Image.Image
Noise = np.random.Generator


def _noise(picture: Picture, strength: float, random: Noise) -> Picture:
    pixels = np.asarray(picture, np.float32)
    # One value for the three channels: the sensor of the demo's camera is monochrome.
    grain = random.normal(scale=strength, size=pixels.shape[:2])[..., None]
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _jpeg(picture: Picture, strength: float, _: Noise) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(strength))
    return Image.open(buffer).convert("RGB")


def _moved(picture: Picture, dx: float, dy: float) -> Picture:
    """Shifted by whole or part pixels; the border repeats the picture's edge."""
    margin = int(max(abs(dx), abs(dy))) + 1
    padded = np.pad(np.asarray(picture), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    moved = Image.fromarray(padded).transform(
        (padded.shape[1], padded.shape[0]), Image.Transform.AFFINE, (1, 0, dx, 0, 1, dy), Image.Resampling.BILINEAR
    )
    return moved.crop((margin, margin, margin + picture.width, margin + picture.height))


def _translated(picture: Picture, strength: float, random: Noise) -> Picture:
    angle = random.uniform(0, 2 * np.pi)
    return _moved(picture, strength * np.cos(angle), strength * np.sin(angle))


# Name, three strengths (what they are), and what is done to a picture.
CORRUPTIONS: dict[str, tuple[str, tuple[float, float, float], Callable[[Picture, float, Noise], Picture]]] = {
    "Gaussian noise": ("standard deviation, grey levels", (2, 6, 20), _noise),
    "blur": (
        "radius, pixels",
        (0.5, 1, 2),
        lambda picture, strength, _: picture.filter(ImageFilter.GaussianBlur(strength)),
    ),
    "brightness": (
        "factor",
        (0.97, 0.9, 0.75),
        lambda picture, strength, _: ImageEnhance.Brightness(picture).enhance(strength),
    ),
    "contrast": (
        "factor",
        (0.95, 0.85, 0.6),
        lambda picture, strength, _: ImageEnhance.Contrast(picture).enhance(strength),
    ),
    "JPEG": ("quality", (80, 40, 10), _jpeg),
    "translation": ("pixels", (2, 6, 20), _translated),
}


def corrupted(name: str, strength: float, picture: Picture, random: Noise) -> Picture:
    """The picture after one corruption."""
    return CORRUPTIONS[name][2](picture, strength, random)


def one_frame(picture: Picture, random: Noise) -> Picture:
    """One frame of a scene: moved by up to a pixel, other sensor noise, a lamp that flickers by 1 %."""
    moved = _moved(picture, *random.uniform(-1, 1, 2))
    return _noise(ImageEnhance.Brightness(moved).enhance(random.uniform(0.99, 1.01)), 1.5, random)
