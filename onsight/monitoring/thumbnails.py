"""Small pictures for the report: what the reference and the window typically look like, and what drifted most."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onsight.drift import ReferenceData
from onsight.errors import ImageError
from onsight.image_archive import ImageArchive
from onsight.images import decode_reduced
from onsight.monitoring.rows import MonitorRun
from onsight.monitoring.samples import typical_rows

__all__ = ["Gallery", "Thumbnail", "draw_galleries"]

_SIDE_PX = 144
_QUALITY = 80
_TYPICAL = 8
_DRIFTED = 16


@dataclass(frozen=True)
class Thumbnail:
    """One picture of a gallery.

    Attributes:
        source: A data address, or an empty string when the image is not there.
        lines: Shown below it.
    """

    source: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """A row of pictures under a title."""

    title: str
    thumbnails: tuple[Thumbnail, ...]
    note: str = ""

    @property
    def n_missing(self) -> int:
        """Pictures whose image is not there."""
        return sum(not thumbnail.source for thumbnail in self.thumbnails)


def draw_galleries(
    run: MonitorRun, reference: ReferenceData, dataset_folder: Path, archive: ImageArchive
) -> tuple[Gallery, ...]:
    """The reference's and the window's most typical images, and the window's most drifted ones.

    Args:
        run: The run.
        reference: Names its images relative to the data set.
        dataset_folder: Where the data set lies, if it is on this machine.
        archive: Of uploaded images.
    """
    scores = run.judgement.row_scores
    drifted = [int(row) for row in np.argsort(-scores, kind="stable")[:_DRIFTED]]

    def uploaded(row: int) -> bytes | None:
        return archive.find(run.window.image_digests[row])

    def described(row: int) -> tuple[str, ...]:
        probabilities = run.window.probabilities[row]
        top = int(probabilities.argmax())
        return (
            f"{run.metadata.classes[top]} {probabilities[top]:.2f}",
            f"score {scores[row]:.1f}",
            run.window.prediction_ids[row],
        )

    def kept(row: int) -> bytes | None:
        try:
            return (dataset_folder / reference.images[row]).read_bytes()
        except OSError:  # the data set is elsewhere, or at another version
            return None

    def labelled(row: int) -> tuple[str, ...]:
        return (", ".join(reference.labels[row]), reference.images[row])

    typical = typical_rows(reference.uae_features.astype(np.float64), _TYPICAL)
    middle = typical_rows(run.window.uae_feats, _TYPICAL)
    note = "A score of 1 is as far from the reference as its own median image."
    return (
        Gallery("The reference's most typical images", _draw(typical, kept, labelled)),
        Gallery("The window's most typical images", _draw(middle, uploaded, described)),
        Gallery("The window's most drifted images", _draw(drifted, uploaded, described), note),
    )


def _draw(
    rows: Sequence[int], read: Callable[[int], bytes | None], describe: Callable[[int], tuple[str, ...]]
) -> tuple[Thumbnail, ...]:
    return tuple(Thumbnail(_reduced(read(row)), describe(row)) for row in rows)


def _reduced(content: bytes | None) -> str:
    """A small JPEG as a data address; empty if there is no image, or none that can be read."""
    if content is None:
        return ""
    try:
        image = decode_reduced(content, _SIDE_PX)
    except ImageError:
        return ""
    buffer = io.BytesIO()
    _on_square(image).save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _on_square(image: Image.Image) -> Image.Image:
    """Scaled to the square's side; small pictures are enlarged, so that all can be compared by eye."""
    scale = _SIDE_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (_SIDE_PX, _SIDE_PX), "white")
    square.paste(image.resize((width, height)), ((_SIDE_PX - width) // 2, (_SIDE_PX - height) // 2))
    return square
