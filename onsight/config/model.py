"""`model`: the network, its input and output, and what its drift detectors watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from onsight.config.base import Name, Section

__all__ = ["Architecture", "ClassName", "DriftDetection", "InputSize", "Int8Config", "ModelConfig"]

Architecture = Literal[
    "small_cnn",
    "efficientnet_lite0",
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_v2_b0",
    "efficientnet_v2_s",
    "densenet121",
    "xception",
]
ClassName = Annotated[str, StringConstraints(pattern=r"^[^/\\\x00-\x1f]{1,100}$", strip_whitespace=True)]


class InputSize(Section):
    """The network's input in pixels."""

    w: int = Field(ge=16, le=1024, description="width")
    h: int = Field(ge=16, le=1024, description="height")


class DriftDetection(Section):
    """Which features the drift detectors watch, and how they test them."""

    detector: Literal["native", "alibi-detect"] = Field(
        "native", description="who tests; alibi-detect's licence does not allow every commercial use"
    )
    test: Literal["ks", "mmd"] = Field("ks", description="per-feature Kolmogorov-Smirnov, or maximum mean discrepancy")
    p_value: float = Field(0.01, gt=0, lt=0.5, description="the false-alarm rate that a test promises")
    uae_encoding_dims: int = Field(32, ge=2, le=512, description="outputs of the untrained encoder")
    uae_input_size: int = Field(32, ge=16, le=128, description="side of the resize that the encoder sees, in pixels")
    bbsd_layer: str | None = Field(None, description="layer whose output is tested; the classification layer if unset")
    reference_data_n_sample: int = Field(500, ge=50, le=20_000, description="rows of reference data")
    reference_splits: tuple[Literal["valid", "test"], ...] = Field(
        ("valid", "test"), min_length=1, description="held-out splits that the reference is drawn from, never train"
    )


class Int8Config(Section):
    """The int8 variant of the serving graph: its convolutions in 8-bit integers."""

    enabled: bool = Field(
        default=False, description="make it, in some seconds more; it is published only if it is accurate enough"
    )
    calibration_images: int = Field(
        128, ge=16, le=4096, description="of the split train, that the ranges of the activations are read from"
    )
    max_accuracy_loss: float = Field(
        0.01, ge=0, le=1, description="against the network, on the images of evaluate.subset; more and it is left out"
    )


class ModelConfig(Section):
    """The network: what goes in, what comes out, and where its weights come from."""

    model_name: Name = Field(description="the registered model's name, also part of file names")
    input_size: InputSize
    classes: tuple[ClassName, ...] = Field(min_length=2, max_length=1000, description="in output order")
    classifier_type: Literal["multi-class", "multi-label"] = "multi-class"
    classifier_activation: Literal["softmax", "sigmoid"] = "softmax"
    classification_layer: str = Field("classifier", pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    architecture: Architecture = "efficientnet_lite0"
    weights: Literal["none", "bundled", "imagenet"] | Path = Field(
        "none", description="none, bundled (an installed package), imagenet (downloaded), or a .keras file"
    )
    dropout: float = Field(0.2, ge=0, lt=1)
    drift_detection: DriftDetection = DriftDetection()
    int8: Int8Config = Int8Config()

    # Cross-checks hang on the later key rather than on the whole section: they then run, and are reported with
    # their key's path, also when another key of the section is wrong.
    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in classes if classes.count(name) > 1})
        if twice:
            raise ValueError(f"a class stands twice: {', '.join(twice)}")
        return classes

    @field_validator("classifier_activation")
    @classmethod
    def _activation_fits(cls, activation: str, info: ValidationInfo) -> str:
        kind = info.data.get("classifier_type")
        wanted = {"multi-class": "softmax", "multi-label": "sigmoid"}.get(str(kind), activation)
        if activation != wanted:
            raise ValueError(f"classifier_type {kind} needs {wanted}")
        return activation

    @field_validator("weights")
    @classmethod
    def _weights_exist(cls, weights: str | Path, info: ValidationInfo) -> str | Path:
        architecture = info.data.get("architecture", "")
        if weights == "bundled" and architecture != "efficientnet_lite0":
            raise ValueError(f"bundled weights exist for efficientnet_lite0 alone, not for {architecture}")
        if weights == "imagenet" and architecture in ("small_cnn", "efficientnet_lite0"):
            raise ValueError(f"imagenet weights do not exist for {architecture}")
        return weights

    @field_validator("drift_detection")
    @classmethod
    def _bbsd_layer_exists(cls, drift: DriftDetection, info: ValidationInfo) -> DriftDetection:
        layer = info.data.get("classification_layer", drift.bbsd_layer)
        if drift.bbsd_layer not in (None, layer):
            raise ValueError(f"bbsd_layer must be the classification layer, {layer}")
        return drift
