"""One error tree for the whole platform.

Every error says what is wrong and where (``message``), what to do next (``hint``), and carries its facts as
keywords (``context``), so that a log line or an HTTP problem document can be made from it without parsing text.

    OnsightError                 1   anything unforeseen
      ConfigError                2   the config or the command line is wrong; nothing was read or written
      DatasetError               3   a data set is missing, broken, or holds uncommitted work
        ImageError               3   one image cannot be used
          UnreadableImageError   3   not an image, or damaged
          UnsupportedImageError  3   an image in a format that is not allowed
          ImageTooLargeError     3   more pixels or bytes than allowed
      DataGateError              4   validation found an error-severity problem
      PromotionGateError         5   the challenger did not pass; nothing was deployed
      DependencyError            6   a server that the run needs does not answer (MLflow, Prefect, dl_service, database)
      StorageError               7   central storage cannot be read or written
        BundleExistsError        7   the same name was published with other content
      BundleError                8   a bundle is incomplete, damaged, or does not replay its golden outputs
        ConversionError          8   the exported graph does not agree with the network
      TrainingError              9   the network cannot be built or trained

The number is the exit code of ``run_flow.py``.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "BundleExistsError",
    "ConfigError",
    "ConversionError",
    "DataGateError",
    "DatasetError",
    "DependencyError",
    "ImageError",
    "ImageTooLargeError",
    "OnsightError",
    "PromotionGateError",
    "StorageError",
    "TrainingError",
    "UnreadableImageError",
    "UnsupportedImageError",
]


class OnsightError(Exception):
    """Base of every error that Onsight raises on purpose.

    Args:
        message: What is wrong and where, one sentence for a person.
        hint: What to do next, or an empty string.
        context: The facts, as plain values.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with `args` alone and lose hint and context between processes.
        return (_rebuild, (type(self), self.message, self.hint, self.context))


def _rebuild(kind: type[OnsightError], message: str, hint: str, context: dict[str, object]) -> OnsightError:
    return kind(message, hint, **context)


class ConfigError(OnsightError):
    """The config or the command line is wrong."""

    exit_code = 2


class DatasetError(OnsightError):
    """A data set is missing, broken, or holds work that would be lost."""

    exit_code = 3


class ImageError(DatasetError):
    """One image cannot be used."""


class UnreadableImageError(ImageError):
    """The bytes are no image, or a damaged one."""


class UnsupportedImageError(ImageError):
    """An image in a format that is not allowed."""


class ImageTooLargeError(ImageError):
    """More pixels or bytes than the limits allow."""


class DataGateError(OnsightError):
    """Validation found a problem whose severity is ``error``."""

    exit_code = 4


class PromotionGateError(OnsightError):
    """The challenger did not pass the promotion gate."""

    exit_code = 5


class DependencyError(OnsightError):
    """A server that the run needs does not answer."""

    exit_code = 6


class StorageError(OnsightError):
    """Central storage cannot be read or written."""

    exit_code = 7


class BundleExistsError(StorageError):
    """A bundle of this name was published before, with other content."""


class BundleError(OnsightError):
    """A bundle is incomplete, damaged, or does not replay its golden outputs."""

    exit_code = 8


class ConversionError(BundleError):
    """The exported graph does not agree with the network it came from."""


class TrainingError(OnsightError):
    """The network cannot be built or trained."""

    exit_code = 9
