"""`train`: hyperparameters, augmentation and the MLflow experiment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section

__all__ = ["Augmenter", "Hparams", "MlflowConfig", "TrainConfig"]


class Hparams(Section):
    """How the network is trained.

    The first ``freeze_epochs`` train the new head on a frozen backbone; the rest train the last ``unfreeze_share``
    of the backbone's layers too, at ``fine_tune_lr``.
    """

    epochs: int = Field(10, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=4096)
    init_lr: float = Field(1e-3, gt=0, le=1)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(1e-4, ge=0, le=1, description="used by adamw")
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    freeze_epochs: int = Field(0, ge=0, description="epochs with a frozen backbone")
    fine_tune_lr: float = Field(1e-4, gt=0, le=1)
    unfreeze_share: float = Field(1.0, gt=0, le=1, description="share of the backbone's layers, counted from the top")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    early_stopping_patience: int = Field(0, ge=0, description="epochs without improvement; 0: never stop early")
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    seed: int = Field(17, ge=0, lt=2**31)

    @field_validator("freeze_epochs")
    @classmethod
    def _freeze_within_epochs(cls, freeze_epochs: int, info: ValidationInfo) -> int:
        epochs = info.data.get("epochs", freeze_epochs)
        if freeze_epochs > epochs:
            raise ValueError(f"is larger than epochs ({epochs})")
        return freeze_epochs


# imgaug takes a pair as the range of a uniform draw, and tells whole numbers from others.
AugmenterValue = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | dict[str, float | tuple[float, ...]]


class Augmenter(Section):
    """One imgaug augmenter by its name, with its arguments, applied with ``probability``."""

    name: Literal[
        "Fliplr", "Flipud", "Rot90", "Affine", "Crop", "CropAndPad", "GaussianBlur", "AdditiveGaussianNoise",
        "Multiply", "Add", "LinearContrast", "GammaContrast", "Grayscale", "Cutout", "CoarseDropout",
        "JpegCompression", "MultiplySaturation", "AddToHueAndSaturation", "ElasticTransformation", "Sharpen",
    ]  # fmt: skip
    args: dict[str, AugmenterValue] = Field(default_factory=dict)
    probability: float = Field(1.0, gt=0, le=1)


class MlflowConfig(Section):
    """Where a run appears in MLflow."""

    exp_name: str = Field("onsight", min_length=1, max_length=200)
    exp_desc: str = ""
    exp_tags: dict[str, str] = Field(default_factory=dict)


class TrainConfig(Section):
    """How a network is trained and tracked."""

    hparams: Hparams = Hparams()
    augmentation: tuple[Augmenter, ...] = ()
    workers: int = Field(2, ge=1, le=64, description="threads that decode and augment beside training")
    mlflow: MlflowConfig = MlflowConfig()
