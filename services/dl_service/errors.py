"""What can go wrong with a request, beside what can go wrong in the library."""

from __future__ import annotations

from onsight.errors import OnsightError

__all__ = [
    "BodyTooLargeError",
    "DeadlineError",
    "ExplainRequestError",
    "FeedbackRequestError",
    "ForbiddenError",
    "ImageNotKeptError",
    "InferRequestError",
    "MalformedBodyError",
    "MissingFileError",
    "ModelNameError",
    "NoModelError",
    "NothingToRollBackError",
    "OverloadedError",
    "PredictionIdError",
    "ReceiveTimeoutError",
    "ReviewClosedError",
    "RolledBackError",
    "ServiceError",
    "UnauthorizedError",
    "UnexplainableError",
    "UnknownClassError",
    "UnknownHostError",
    "UnknownModelError",
    "UnknownPredictionError",
    "UnknownReviewItemError",
    "UnsupportedEncodingError",
]


class ServiceError(OnsightError):
    """Base of the errors that only a service meets."""


class BodyTooLargeError(ServiceError):
    """The request's body is larger than allowed."""


class DeadlineError(ServiceError):
    """The answer was not ready in time."""


class ForbiddenError(ServiceError):
    """The API key is valid and may not do this."""


class MalformedBodyError(ServiceError):
    """The body is not the message that its headers promise."""


class MissingFileError(ServiceError):
    """The body holds no image."""


class ModelNameError(ServiceError):
    """The name of a model's metadata file is not one."""


class NoModelError(ServiceError):
    """The service has no model, or one that does not answer."""


class NothingToRollBackError(ServiceError):
    """No version was served before the one that is served now."""


class OverloadedError(ServiceError):
    """More requests than the service can take in."""


class ReceiveTimeoutError(ServiceError):
    """The client did not send its body in time."""


class ReviewClosedError(ServiceError):
    """Somebody has labelled or skipped the item before."""


class RolledBackError(ServiceError):
    """A version was taken back before every worker served it."""


class UnauthorizedError(ServiceError):
    """No valid API key came with the request."""


class UnknownHostError(ServiceError):
    """The service is open to this machine, and was called by a name that is not this machine's."""


class UnknownModelError(ServiceError):
    """Central storage holds no such model, or it is not the one that is served."""


class ExplainRequestError(ServiceError):
    """What should be explained, or how, is not among the choices."""


class FeedbackRequestError(ServiceError):
    """Not an opinion that can be kept."""


class ImageNotKeptError(ServiceError):
    """The prediction is known, its image is not in the archive."""


class PredictionIdError(ServiceError):
    """Not the id of a prediction."""


class InferRequestError(ServiceError):
    """An inference request whose tensors are not what the model takes or gives."""


class UnsupportedEncodingError(ServiceError):
    """The body is compressed."""


class UnexplainableError(ServiceError):
    """The model's bundle lacks what explanations are made of."""


class UnknownClassError(ServiceError):
    """The version that made the prediction has no class of this name."""


class UnknownPredictionError(ServiceError):
    """There is no prediction of this id, or none yet."""


class UnknownReviewItemError(ServiceError):
    """The prediction was never chosen for review."""
