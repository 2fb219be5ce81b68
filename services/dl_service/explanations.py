"""Explaining an answer: which class, as which picture, from the feature maps of the inference that gave it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from onsight.bundle import Bundle
from onsight.errors import OnsightError
from onsight.explain import MAX_SIDE, PictureFormat, class_activation_map, draw_heat_map, encode_picture, lay_over
from onsight.images import ImageLimits, decode_reduced, reduced_size
from services.dl_service.errors import ExplainRequestError, UnexplainableError

__all__ = [
    "ExplainRequest",
    "Explanation",
    "check_explain",
    "explain",
    "explain_or_say_why",
    "make_pictures",
    "parse_explain",
]

ExplainKind = Literal["heatmap", "overlay", "both"]

_LOG = logging.getLogger(__name__)
_MOST_CHOICES_SHOWN = 20
_DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class ExplainRequest:
    """What is asked for.

    Attributes:
        class_name: None for the top class.
    """

    kind: ExplainKind
    class_name: str | None = None
    picture_format: PictureFormat = "jpeg"


@dataclass(frozen=True)
class Explanation:
    """Pictures in base64; the ones that were asked for.

    Attributes:
        why_not: Empty, or why there are none.
    """

    raw_hm_img: str | None
    overlaid_img: str | None
    explain_class: str
    why_not: str = ""


def parse_explain(query: Mapping[str, str]) -> ExplainRequest | None:
    """The explanation that a query asks for with ``explain``, ``explain_class`` and ``explain_format``; None: none.

    Raises:
        ExplainRequestError: A value is not among the choices, or a detail is given of nothing.
    """
    if "explain" not in query:
        without = [name for name in ("explain_class", "explain_format") if name in query]
        if without:
            raise ExplainRequestError(f"{without[0]} is given without explain", "add explain=heatmap, overlay or both")
        return None
    kind = _choice("explain", query["explain"], get_args(ExplainKind))
    picture_format = _choice("explain_format", query.get("explain_format", "jpeg"), get_args(PictureFormat))
    return ExplainRequest(cast("ExplainKind", kind), query.get("explain_class"), cast("PictureFormat", picture_format))


def check_explain(request: ExplainRequest, bundle: Bundle) -> None:
    """Refuses what the model cannot explain; to be asked before the image is answered.

    Raises:
        ExplainRequestError: The model has no such class.
        UnexplainableError: The bundle lacks the class weights.
    """
    _class_weights(bundle, bundle.metadata.classes[0] if request.class_name is None else request.class_name)


def explain(
    content: bytes,
    bundle: Bundle,
    feature_maps: NDArray[np.float32],
    request: ExplainRequest,
    top_class: str,
    limits: ImageLimits = _DEFAULT_LIMITS,
) -> Explanation:
    """Explain one answer. It may fail: call it when the answer is on record, or call ``explain_or_say_why``.

    Args:
        content: The image file.
        bundle: That answered.
        feature_maps: float32 [h, w, F], the image's row of what ``OnnxClassifier.run_explained`` gave.
        request: What is asked for.
        top_class: Explained unless the request names a class.
        limits: Of the file.

    Raises:
        ExplainRequestError: The model has no such class.
        UnexplainableError: The bundle lacks the class weights.
        BundleError: The feature maps are not finite.
        ImageError: The file cannot be used.
    """
    pictures = make_pictures(content, bundle, feature_maps, request, top_class, limits)
    heat_map, overlay = (base64.b64encode(file).decode() if file else None for file in pictures)
    return Explanation(heat_map, overlay, request.class_name or top_class)


def explain_or_say_why(
    content: bytes,
    bundle: Bundle,
    feature_maps: NDArray[np.float32],
    request: ExplainRequest,
    top_class: str,
    limits: ImageLimits = _DEFAULT_LIMITS,
) -> Explanation:
    """As ``explain``, but never raises: the prediction that it belongs to was made and is on record."""
    try:
        return explain(content, bundle, feature_maps, request, top_class, limits)
    except OnsightError as error:
        why = error.message
    except Exception:  # noqa: BLE001 - whatever it is, the answer is right and must reach the client
        _LOG.exception("the explanation failed")
        why = "the explanation failed; the service's log says more"
    return Explanation(None, None, request.class_name or top_class, why)


def make_pictures(
    content: bytes,
    bundle: Bundle,
    feature_maps: NDArray[np.float32],
    request: ExplainRequest,
    top_class: str,
    limits: ImageLimits = _DEFAULT_LIMITS,
) -> tuple[bytes | None, bytes | None]:
    """The files of the heat map and of the overlay, each if it is asked for; otherwise as ``explain``."""
    weights = _class_weights(bundle, request.class_name or top_class)
    activation_map = class_activation_map(feature_maps, weights)
    if request.kind == "heatmap":  # needs no pixel of the image
        heat_map = draw_heat_map(activation_map, *reduced_size(content, MAX_SIDE, limits))
        return encode_picture(heat_map, request.picture_format), None
    image = decode_reduced(content, MAX_SIDE, limits)
    heat_map = draw_heat_map(activation_map, image.width, image.height)
    raw = encode_picture(heat_map, request.picture_format) if request.kind == "both" else None
    return raw, encode_picture(lay_over(image, heat_map), request.picture_format)


def _class_weights(bundle: Bundle, class_name: str) -> NDArray[np.float32]:
    explainer = bundle.explainer
    if explainer is None:
        raise UnexplainableError(
            f"{bundle.metadata.bundle_name} was published before answers could be explained",
            "train or export the model again, or leave the explanation out",
        )
    classes = bundle.metadata.classes
    return explainer.class_weights[:, classes.index(_choice("explain_class", class_name, classes))]


def _choice(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        choices = ", ".join(allowed[:_MOST_CHOICES_SHOWN])
        raise ExplainRequestError(f"{name}={value[:100]!r} is none of the choices", f"choose one of {choices}")
    return value
