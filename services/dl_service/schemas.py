"""The shapes of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from onsight.domain import Variant

__all__ = [
    "BatchItem",
    "BatchResponse",
    "CurrentModelResponse",
    "DesiredVersion",
    "InferenceError",
    "LivenessResponse",
    "ModelMetadata",
    "ModelReady",
    "ModelsResponse",
    "PredictResponse",
    "ProblemDocument",
    "ReadinessResponse",
    "ServedVersion",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
    "TensorMetadata",
    "UpdateModelResponse",
    "WorkerStatus",
    "problem_responses",
]


class _Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), frozen=True)


class ProblemDocument(_Schema):
    """An error (RFC 9457), as `application/problem+json`."""

    type: str
    title: str
    status: int
    code: str = Field(description="stable; clients may branch on it")
    detail: str
    hint: str
    request_id: str


class PredictResponse(_Schema):
    """An answered prediction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prediction_id": "019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47",
                    "model_name": "solar_cells",
                    "model_version": 3,
                    "prediction": {"functional": 0.071, "defective": 0.929},
                    "top_class": "defective",
                    "confidence": 0.929,
                    "message": "defective (92.9 %)",
                }
            ]
        }
    )

    prediction_id: str = Field(description="version 7 UUID; the row of this id in the table predictions is this answer")
    model_name: str
    model_version: int
    prediction: dict[str, float] = Field(description="probability by class")
    top_class: str
    confidence: float = Field(description="probability of the top class")
    message: str = Field(description="the answer in words")
    explain_class: str | None = Field(None, description="the class whose evidence the pictures show")
    raw_hm_img: str | None = Field(None, description="heat map of the evidence, to be stretched over the image, base64")
    overlaid_img: str | None = Field(None, description="the same laid over the image, base64")
    why_not: str | None = Field(None, description="empty, or why there is no explanation; the prediction holds")


class BatchItem(_Schema):
    """One image of a batch: an answer or a problem."""

    file_name: str
    prediction: PredictResponse | None
    problem: ProblemDocument | None


class BatchResponse(_Schema):
    """The images of a batch, in their order."""

    items: list[BatchItem]
    n_failed: int


class ServedVersion(_Schema):
    """The version that takes traffic."""

    bundle_name: str
    model_name: str
    model_version: int
    classes: list[str]
    classifier_type: Literal["multi-class", "multi-label"]
    input_width: int
    input_height: int
    sha256: str
    variant: Variant = Field(description="of its graph: as trained, or in 8-bit integers")
    loaded_at: str


class DesiredVersion(_Schema):
    """The newest wish on record."""

    bundle_name: str
    kind: Literal["update", "rollback"]
    requested_by: str
    requested_at: str
    reason: str


class WorkerStatus(_Schema):
    """One process of the service, as it last reported."""

    worker_id: str
    replica: str = Field(description="the host or container that it runs in")
    pid: int
    bundle_name: str | None = Field(description="null: it serves nothing")
    problem: str = Field(description="why it does not serve the desired version; empty when it does")
    reported_at: str


class CurrentModelResponse(_Schema):
    """What should be served, and what is."""

    desired: DesiredVersion | None = Field(description="null: none yet, or the database does not answer")
    serving: ServedVersion | None = Field(description="by the worker that answers")
    workers: list[WorkerStatus]
    message: str


class ModelsResponse(_Schema):
    """What central storage holds."""

    bundles: list[str] = Field(description="by model and version")


class UpdateModelResponse(_Schema):
    """A model that was swapped in."""

    bundle_name: str
    model_name: str
    model_version: int
    previous: str | None = Field(description="the bundle served before")
    variant: Variant = Field(description="of its graph, in the worker that answers")
    is_converged: bool = Field(description="whether every worker serves it")
    workers: list[WorkerStatus]
    seconds: float = Field(description="to load, verify, record, swap and hear of every worker")
    message: str


class LivenessResponse(_Schema):
    """The process runs."""

    service: Literal["dl_service"] = "dl_service"
    status: Literal["alive"] = "alive"
    version: str
    pid: int
    place: str = Field(description="digest of the storage, state folder and database that the process works with")


class ReadinessResponse(_Schema):
    """The service answers predictions."""

    status: Literal["ready", "healthy"]
    model_name: str
    model_version: int


class InferenceError(_Schema):
    """An error below `/v2`."""

    error: str
    code: str = Field(description="stable; clients may branch on it")
    request_id: str


class ServerMetadata(_Schema):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(_Schema):
    """The process runs."""

    live: Literal[True] = True


class ServerReady(_Schema):
    """A model is served."""

    ready: Literal[True] = True


class ModelReady(ServerReady):
    """The model takes requests."""

    name: str


class TensorMetadata(_Schema):
    """A tensor that the model takes or gives."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1: any size")


class ModelMetadata(_Schema):
    """The model that is served. A request has one of the inputs, and gets the outputs that it names."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any] = Field(description="`classes`: in the order of the probabilities")


def problem_responses(codes_by_status: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses that are problem documents.

    Args:
        codes_by_status: The codes that each status may carry, as text.
    """
    return {
        status: {
            "description": codes,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status, codes in codes_by_status.items()
    }
