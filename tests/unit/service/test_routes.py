"""The answer in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.dl_service.data_plane import Answer
from services.dl_service.predict_endpoint import describe_answer


@pytest.mark.parametrize(
    ("kind", "probabilities", "words"),
    [
        ("multi-class", (0.25, 0.75), "b (75.0 %)"),
        ("multi-label", (0.25, 0.75), "b (75.0 %)"),
        ("multi-label", (0.5, 0.75), "a (50.0 %), b (75.0 %)"),
        ("multi-label", (0.25, 0.125), "none of the classes"),
    ],
)
def test_describe_answer(kind: str, probabilities: tuple[float, float], words: str) -> None:
    metadata = SimpleNamespace(classes=("a", "b"), classifier_type=kind)
    model = cast("Any", SimpleNamespace(bundle=SimpleNamespace(metadata=metadata)))
    top = max(probabilities)

    assert describe_answer(Answer("id", model, probabilities, "ab"[probabilities.index(top)], top)) == words
