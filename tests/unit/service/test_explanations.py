"""From feature maps to the pictures of an answer, and what may be asked for."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onsight.bundle import Bundle
from onsight.errors import ImageTooLargeError, UnreadableImageError
from onsight.explain import class_activation_map, draw_heat_map, lay_over
from onsight.images import ImageLimits, decode_image, read_image
from services.dl_service.errors import ExplainRequestError, UnexplainableError
from services.dl_service.explanations import (
    ExplainRequest,
    check_explain,
    explain,
    explain_or_say_why,
    parse_explain,
)
from tests.servers import pictures
from tests.servers.bundle import CLASSES

PNG = ExplainRequest("both", picture_format="png")
TOP = CLASSES[0]


def feature_maps_of(bundle: Bundle, content: bytes) -> np.ndarray[Any, Any]:
    return bundle.classifier.run_explained(read_image(content, 32, 32)[np.newaxis])[1][0]


def decoded(picture: str | None) -> Image.Image:
    assert picture is not None
    image = Image.open(io.BytesIO(base64.b64decode(picture, validate=True)))
    image.load()
    return image


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, None),
        ({"other": "x"}, None),
        ({"explain": "heatmap"}, ExplainRequest("heatmap")),
        ({"explain": "overlay", "explain_format": "png"}, ExplainRequest("overlay", None, "png")),
        ({"explain": "both", "explain_class": "broken"}, ExplainRequest("both", "broken")),
    ],
)
def test_parse_explain(query: dict[str, str], expected: ExplainRequest | None) -> None:
    assert parse_explain(query) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"explain": ""}, "explain='' is none"),
        ({"explain": "Heatmap"}, "explain='Heatmap' is none"),
        ({"explain": "both", "explain_format": "gif"}, "explain_format='gif' is none"),
        ({"explain_class": "broken"}, "explain_class is given without explain"),
        ({"explain_format": "png"}, "explain_format is given without explain"),
    ],
)
def test_parse_explain_refuses_what_is_no_choice(query: dict[str, str], message: str) -> None:
    with pytest.raises(ExplainRequestError, match=message) as caught:
        parse_explain(query)

    assert caught.value.hint


def test_check_explain_names_the_classes(small_bundle: Bundle) -> None:
    check_explain(ExplainRequest("both"), small_bundle)
    check_explain(ExplainRequest("both", "broken"), small_bundle)

    for wrong in ("", "brokem", "x" * 1000):
        with pytest.raises(ExplainRequestError, match="explain_class=") as caught:
            check_explain(ExplainRequest("both", wrong), small_bundle)
        assert len(caught.value.message) < 200
        assert "functional, scratched, broken" in caught.value.hint


def test_a_bundle_without_class_weights_is_refused(small_bundle: Bundle) -> None:
    old = replace(small_bundle, explainer=None)

    with pytest.raises(UnexplainableError, match="cells-v1 was published before"):
        check_explain(ExplainRequest("both"), old)


@pytest.mark.parametrize("name", [None, *CLASSES])
def test_explain_draws_the_map_of_the_class(small_bundle: Bundle, name: str | None) -> None:
    content = pictures.encode(Image.fromarray(pictures.pixels()), "PNG")
    maps = feature_maps_of(small_bundle, content)
    assert small_bundle.explainer is not None
    weights = small_bundle.explainer.class_weights[:, CLASSES.index(name or TOP)]

    explanation = explain(content, small_bundle, maps, replace(PNG, class_name=name), TOP)

    heat_map = draw_heat_map(class_activation_map(maps, weights), 90, 60)
    overlay = lay_over(Image.fromarray(decode_image(content)), heat_map)
    for picture, expected in ((explanation.raw_hm_img, heat_map), (explanation.overlaid_img, overlay)):
        found = np.asarray(decoded(picture).convert("RGBX")).reshape(60, 90, 4)[..., :3]
        np.testing.assert_array_equal(found, expected.view(np.uint8).reshape(60, 90, 4)[..., :3])
    assert explanation.explain_class == (name or TOP)


@pytest.mark.parametrize(
    ("kind", "has"), [("heatmap", (True, False)), ("overlay", (False, True)), ("both", (True, True))]
)
def test_explain_gives_what_was_asked_for(small_bundle: Bundle, kind: Any, has: tuple[bool, bool]) -> None:
    content = pictures.jpeg()

    explanation = explain(content, small_bundle, feature_maps_of(small_bundle, content), ExplainRequest(kind), TOP)

    found = (explanation.raw_hm_img, explanation.overlaid_img)
    assert tuple(picture is not None for picture in found) == has
    assert all(decoded(picture).format == "JPEG" for picture in found if picture)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (301, 1), (37, 53), (3000, 1000), (1000, 3000)], ids=str)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_explain_any_size_within_the_bound(small_bundle: Bundle, size: tuple[int, int], image_format: str) -> None:
    content = pictures.encode(Image.new("RGB", size, "grey"), image_format)

    explanation = explain(content, small_bundle, feature_maps_of(small_bundle, content), PNG, TOP)

    shrink = max(1.0, max(size) / 1024)
    expected = tuple(round(side / shrink) for side in size)
    assert decoded(explanation.raw_hm_img).size == decoded(explanation.overlaid_img).size == expected


@pytest.mark.parametrize("size", [(400, 300), (1501, 1001), (2999, 20)])
def test_explain_when_the_heat_map_alone_then_the_same_as_with_the_overlay(
    small_bundle: Bundle, size: tuple[int, int]
) -> None:
    content = pictures.jpeg(width=size[0], height=size[1])
    maps = feature_maps_of(small_bundle, content)

    alone, both = (explain(content, small_bundle, maps, replace(PNG, kind=kind), TOP) for kind in ("heatmap", "both"))

    assert alone.raw_hm_img == both.raw_hm_img


def test_explain_keeps_the_limits(small_bundle: Bundle) -> None:
    content = pictures.jpeg()
    maps = feature_maps_of(small_bundle, content)

    with pytest.raises(ImageTooLargeError):
        explain(content, small_bundle, maps, PNG, TOP, ImageLimits(max_pixels=100))
    with pytest.raises(UnreadableImageError):
        explain(b"no image", small_bundle, maps, PNG, TOP)


def test_explain_or_say_why_never_raises(small_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    content = pictures.jpeg()
    maps = feature_maps_of(small_bundle, content)
    nowhere = np.full_like(maps, np.nan)

    fine = explain_or_say_why(content, small_bundle, maps, PNG, TOP)
    damaged = explain_or_say_why(content, small_bundle, nowhere, PNG, TOP)
    unforeseen = explain_or_say_why(content, small_bundle, maps[..., :3], PNG, TOP)

    assert fine == explain(content, small_bundle, maps, PNG, TOP)
    assert "not finite" in damaged.why_not
    assert unforeseen.why_not.startswith("the explanation failed")
    assert damaged.raw_hm_img is unforeseen.overlaid_img is None
    assert "the explanation failed" in caplog.text
