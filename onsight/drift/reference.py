"""Which images the reference is: held-out ones, drawn in their natural class mix."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import numpy as np

from onsight.domain import Split
from onsight.errors import DatasetError

__all__ = ["sample_reference"]

_LOG = logging.getLogger(__name__)


def sample_reference(splits: Sequence[Split], n_sample: int, seed: int, chosen: Collection[str] = ()) -> Split:
    """Draw the reference images from held-out splits.

    A network is over-confident on the images it was trained on, so a reference of those would make quiet traffic look
    drifted. The draw is uniform: class shares are those of the splits, up to chance.

    Args:
        splits: Held-out splits.
        n_sample: How many images; all of them, with a warning, if there are fewer.
        seed: Of the draw.
        chosen: File names of images that are left out, because they came in for being unlike the others.

    Returns:
        The drawn images with their labels, in the splits' order.

    Raises:
        DatasetError: If one of the splits is ``train``, or there is no image.
    """
    if any(split.name == "train" for split in splits):
        raise DatasetError("reference data cannot come from the train split", hint="use valid and test")
    places = [path for split in splits for path in split.paths]
    natural = [index for index, path in enumerate(places) if path.name not in chosen]
    if not natural:
        raise DatasetError("the held-out splits hold no image to take reference data from")
    paths = [places[index] for index in natural]
    labels = np.concatenate([split.labels for split in splits])[natural]
    if len(paths) < n_sample:
        _LOG.warning("reference data: %d rows were asked for, the held-out splits hold %d images", n_sample, len(paths))
    size = min(n_sample, len(paths))
    drawn = np.sort(np.random.default_rng(seed).choice(len(paths), size, replace=False))
    return Split(name="reference", paths=tuple(paths[index] for index in drawn), labels=labels[drawn])
