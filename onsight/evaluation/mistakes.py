"""The worst mistakes of a network, as a sheet of thumbnails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onsight.domain import ScoredSplit
from onsight.errors import ImageError
from onsight.evaluation.scores import Scores, read_scores
from onsight.images import decode_image

__all__ = ["Mistake", "draw_mistakes", "worst_mistakes"]

_SIDE = 176
_GAP = 12
_CAPTION = 38
_COLUMNS = 6
_WHITE, _GREY, _INK, _RED = (255, 255, 255), (229, 231, 235), (31, 41, 51), (178, 34, 34)


@dataclass(frozen=True)
class Mistake:
    """One image that the network got wrong.

    Attributes:
        predicted: With the probability given to it; for multi-label the class it is most wrong about, with what
            the network says of it.
    """

    path: Path
    true: str
    predicted: str


def worst_mistakes(scored: ScoredSplit, count: int) -> list[Mistake]:
    """The mistakes that the network was surest of, the surest first.

    Multi-class: wrong images by the probability of the predicted class. Multi-label: images by the largest gap
    between a label and its probability, where that makes the label wrong.
    """
    scores = read_scores(scored)
    wrong = np.flatnonzero(~scores.is_right)
    if scores.is_multi_label:
        gap = np.abs(scores.labels - scores.probabilities).max(axis=1)
    else:
        gap = scores.probabilities.max(axis=1)
    order = wrong[np.argsort(-gap[wrong], kind="stable")][:count]
    return [_describe(scored, scores, int(i)) for i in order]


def draw_mistakes(mistakes: list[Mistake], path: Path) -> None:
    """Draw the sheet; an image that cannot be read leaves a grey square.

    Args:
        mistakes: At least one.
        path: Of the PNG file.
    """
    rows = -(-len(mistakes) // _COLUMNS)
    columns = min(len(mistakes), _COLUMNS)
    cell_height = _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * (_SIDE + _GAP) + _GAP, rows * cell_height + _GAP), _WHITE)
    draw = ImageDraw.Draw(sheet)
    # Pillow's own font lacks arrows and many letters; matplotlib brings one that has them.
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size=12)
    for place, mistake in enumerate(mistakes):
        x = _GAP + (place % _COLUMNS) * (_SIDE + _GAP)
        y = _GAP + (place // _COLUMNS) * cell_height
        sheet.paste(_thumbnail(mistake.path), (x, y))
        draw.text((x, y + _SIDE + 4), _fit(mistake.true, font), fill=_INK, font=font)
        draw.text((x, y + _SIDE + 20), _fit(f"→ {mistake.predicted}", font), fill=_RED, font=font)
    sheet.save(path)


def _describe(scored: ScoredSplit, scores: Scores, i: int) -> Mistake:
    labels, probabilities = scores.labels[i], scores.probabilities[i]
    if scores.is_multi_label:
        worst = int(np.abs(labels - probabilities).argmax())
        true = ", ".join(name for name, there in zip(scored.classes, labels, strict=True) if there) or "none"
    else:
        worst = int(probabilities.argmax())
        true = scored.classes[int(labels.argmax())]
    return Mistake(scored.paths[i], true, f"{scored.classes[worst]} {probabilities[worst]:.2f}")


def _thumbnail(path: Path) -> Image.Image:
    square = Image.new("RGB", (_SIDE, _SIDE), _GREY)
    try:
        image = Image.fromarray(decode_image(path.read_bytes()))
    except (OSError, ImageError):
        return square
    scale = _SIDE / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BICUBIC
    )
    square.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return square


def _fit(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Shorten a text to the width of a thumbnail; its end, which holds the probability, stays."""
    if font.getlength(text) <= _SIDE:
        return text
    head, _, tail = text.rpartition(" ")
    while head and font.getlength(f"{head}… {tail}") > _SIDE:
        head = head[:-1]
    return f"{head}… {tail}" if head else text[:20]
