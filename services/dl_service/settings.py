"""What the service reads from its environment, on top of the platform's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from onsight.settings import Settings
from services.dl_service.cores import usable_cores

# The process that only watches over the workers reads settings too, and needs none of these: they take a second.
if TYPE_CHECKING:
    from onsight.bundle import Engine
    from onsight.domain import Variant
    from onsight.image_archive import ArchivePolicy
    from onsight.images import ImageLimits
    from services.dl_service.batching import BatchLimits
    from services.dl_service.probation import ProbationRules

__all__ = ["ServiceSettings"]

_MIB = 1024 * 1024
_CPU_PROVIDER = "CPUExecutionProvider"


class ServiceSettings(Settings):
    """The service's settings; each is an environment variable ``ONSIGHT_<NAME>`` unless an alias says otherwise."""

    model_config = SettingsConfigDict(populate_by_name=True)

    host: str = Field("127.0.0.1", validation_alias="DL_SERVICE_HOST")
    port: int = Field(4242, ge=0, le=65535, validation_alias="DL_SERVICE_PORT")
    allow_open: bool = Field(default=False, description="serve without API keys on an address that others can reach")
    require_api_keys: bool = Field(default=False, description="ask for API keys on a loopback address too")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    max_body_bytes: int = Field(20 * _MIB, ge=1024, description="of one uploaded image")
    max_batch_body_bytes: int = Field(100 * _MIB, ge=1024, description="of one form or tensor with many images")
    max_batch_files: int = Field(256, ge=1, description="images in one form or tensor")
    max_image_pixels: int = Field(50_000_000, ge=1, description="width times height, read from the header")
    receive_timeout_s: float = Field(30.0, gt=0, description="for a client to send its body")
    request_deadline_s: float = Field(10.0, gt=0, description="from the whole body to the answer")
    workers: int = Field(1, ge=1, le=256, validation_alias="DL_SERVICE_WORKERS", description="processes")
    inference_threads: int = Field(0, ge=0, le=256, description="batches worked on at once; 0: one per core")
    session_threads: int = Field(1, ge=0, le=256, description="ONNX Runtime's threads on one image; 0: one per core")
    execution_providers: str = Field(
        _CPU_PROVIDER, description="ONNX Runtime's, separated by commas, the preferred one first"
    )
    variant: Literal["auto", "fp32", "int8"] = Field(
        "auto", description="of the graph, where the bundle has it; auto: int8 on a processor with VNNI, else fp32"
    )
    max_batch: int = Field(8, ge=1, le=256, description="images in one batch; fewer while few wait or each takes long")
    queue_size: int = Field(64, ge=1, description="images that wait or are worked on, in each worker")
    max_uploads: int = Field(256, ge=1, description="requests that are being received or answered at once")

    probation_requests: int = Field(50, ge=0, description="of a new version, in each worker; 0: no probation")
    probation_max_failed_share: float = Field(0.1, ge=0, le=1, description="of those requests")
    probation_max_slowdown: float = Field(5.0, gt=1, description="inference time against the version before")
    converge_timeout_s: float = Field(10.0, gt=0, le=300, description="for all workers to serve a new version")

    max_upload_bytes: int = Field(1024 * _MIB, ge=1, description="of all bodies in flight together, in each worker")
    outbox_max_bytes: int = Field(1024 * _MIB, ge=1, description="of predictions the database has not taken yet")
    outbox_when_full: Literal["drop_oldest", "refuse"] = Field(
        "drop_oldest", description="or refuse: requests, until the database is back"
    )
    archive_share: float = Field(1.0, ge=0, le=1, description="of the uploaded images that is kept")
    archive_days: float = Field(30.0, gt=0, description="that an image is kept after it was last uploaded")
    archive_max_bytes: int = Field(10 * 1024 * _MIB, ge=1, description="of all kept images; the oldest go first")
    outbox_interval_s: float = Field(2.0, gt=0, le=60, description="between two shipments to the database")
    drain_timeout_s: int = Field(15, ge=1, description="for requests in flight when the service is stopped")

    @property
    def service_dir(self) -> Path:
        """Where this service keeps its outbox, its cache of bundles and its memory of the desired version."""
        return self.state_dir / "dl_service"

    @property
    def needs_keys(self) -> bool:
        """Whether requests must carry an API key."""
        from services.dl_service.access import needs_keys

        return needs_keys(self.host, allow_open=self.allow_open, require_api_keys=self.require_api_keys)

    @property
    def batch_limits(self) -> BatchLimits:
        """How much one worker takes on at once."""
        from services.dl_service.batching import BatchLimits

        threads = self.inference_threads or max(1, usable_cores() // self.workers)
        return BatchLimits(threads, self.queue_size, self.max_batch, self.request_deadline_s)

    @property
    def engine(self) -> Engine:
        """How graphs are run."""
        from onsight.bundle import Engine

        providers = tuple(name.strip() for name in self.execution_providers.split(",") if name.strip())
        return Engine(self.session_threads, providers)

    @property
    def preferred_variant(self) -> Variant:
        """The variant to serve where a bundle has it."""
        from onsight.bundle import preferred_variant, read_cpuinfo

        return preferred_variant(self.variant, self.engine.providers, read_cpuinfo())

    @property
    def probation_rules(self) -> ProbationRules:
        """What a new version must live up to."""
        from services.dl_service.probation import ProbationRules

        return ProbationRules(self.probation_requests, self.probation_max_failed_share, self.probation_max_slowdown)

    @property
    def archive_policy(self) -> ArchivePolicy:
        """Which uploaded images are kept."""
        from onsight.image_archive import ArchivePolicy

        return ArchivePolicy(self.archive_share, self.archive_days, self.archive_max_bytes)

    @property
    def image_limits(self) -> ImageLimits:
        """What an uploaded image may be; each call makes a decoding room of its own."""
        from onsight.images import DecodingRoom, ImageLimits

        room = DecodingRoom(self.max_image_pixels)
        return ImageLimits(max_bytes=self.max_body_bytes, max_pixels=self.max_image_pixels, room=room)

    def check(self) -> None:
        """Refuses what this installation cannot do.

        Raises:
            ConfigError: ONNX Runtime was built without an execution provider that is asked for.
        """
        if self.execution_providers != _CPU_PROVIDER:
            self.engine.check()
