"""What machine this is, so that a table can be judged."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

__all__ = ["describe_machine"]

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")
_PACKAGES = ("onnxruntime", "pillow", "numpy", "fastapi", "uvicorn", "tensorflow-cpu")


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, kernel, and the versions that matter."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version,
        "packages": {name: version(name) for name in _PACKAGES},
        "load_average_at_start": os.getloadavg(),
    }
