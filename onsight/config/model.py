"""`model`: the network, its input and output, and what its drift detectors watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from onsight.config.base import Name, Section

__all__ = ["Architecture", "ClassName", "DriftDetection", "InputSize", "ModelConfig"]

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
        "none", description="none, bundled (an installed package), imagenet (downloaded), or a .keras/.weights.h5 file"
    )
    dropout: float = Field(0.2, ge=0, lt=1)
    drift_detection: DriftDetection = DriftDetection()

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes holds a name twice")
        wanted = "softmax" if self.classifier_type == "multi-class" else "sigmoid"
        if self.classifier_activation != wanted:
            raise ValueError(f"classifier_type {self.classifier_type} needs classifier_activation: {wanted}")
        if self.weights == "bundled" and self.architecture != "efficientnet_lite0":
            raise ValueError("weights: bundled exist for architecture efficientnet_lite0 alone")
        if self.weights == "imagenet" and self.architecture in ("small_cnn", "efficientnet_lite0"):
            raise ValueError(f"weights: imagenet do not exist for architecture {self.architecture}")
        if self.drift_detection.bbsd_layer not in (None, self.classification_layer):
            raise ValueError(f"drift_detection.bbsd_layer must be the classification layer ({self.classification_layer})")
        return self
