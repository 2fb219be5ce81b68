"""What drift tests compare: the features, probabilities and image properties of a set of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PROPERTIES", "DriftSample"]

PROPERTIES = ("brightness", "contrast", "sharpness", "width", "height", "aspect")


@dataclass(frozen=True)
class DriftSample:
    """A window of predictions, or the reference; row i of everything belongs to the same image.

    Attributes:
        uae_feats: float64 [N, D].
        bbsd_feats: float64 [N, C].
        probabilities: float64 [N, C].
        properties: float64 [N] for each of ``PROPERTIES`` that is known; NaN where a row has none.
        formats: N names of file formats, or none.
        clients: N names of whoever sent the image, or none for a reference.
        created_at_s: float64 [N], seconds since 1970, or [0] for a reference.
    """

    uae_feats: NDArray[np.float64]
    bbsd_feats: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    properties: Mapping[str, NDArray[np.float64]]
    formats: tuple[str, ...]
    clients: tuple[str, ...]
    created_at_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.uae_feats)

    def take(self, indices: ArrayLike) -> DriftSample:
        """The rows at these indices, in their order."""
        rows = np.asarray(indices, dtype=np.intp)
        return DriftSample(
            uae_feats=self.uae_feats[rows],
            bbsd_feats=self.bbsd_feats[rows],
            probabilities=self.probabilities[rows],
            properties={name: values[rows] for name, values in self.properties.items()},
            formats=_picked(self.formats, rows),
            clients=_picked(self.clients, rows),
            created_at_s=self.created_at_s[rows] if len(self.created_at_s) else self.created_at_s,
        )


def _picked(names: Sequence[str], rows: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(names[row] for row in rows) if names else ()
