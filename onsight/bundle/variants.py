"""Which graph of a bundle suits a processor: int8 where it multiplies 8-bit integers at once, else float32."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from onsight.domain import Variant

__all__ = ["VariantChoice", "golden_file", "graph_file", "preferred_variant", "read_cpuinfo"]

VariantChoice = Literal["auto", "fp32", "int8"]

_CPUINFO = Path("/proc/cpuinfo")
# x86 calls the instructions VNNI; Arm, in the line "Features", asimddp.
_FLAG_LINES = ("flags", "Features")
_DOT_PRODUCT_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
_CPU_PROVIDER = "CPUExecutionProvider"


def graph_file(variant: Variant) -> str:
    """The name of a variant's serving graph in its bundle."""
    return "model.onnx" if variant == "fp32" else f"model.{variant}.onnx"


def golden_file(variant: Variant) -> str:
    """The name of a variant's golden images in its bundle."""
    return "golden.npz" if variant == "fp32" else f"golden.{variant}.npz"


def preferred_variant(choice: VariantChoice, providers: tuple[str, ...], cpuinfo: str) -> Variant:
    """The variant to serve where a bundle has it.

    Args:
        choice: ``auto`` is int8 on a processor with 8-bit dot products; without them it gains little or nothing.
        providers: ONNX Runtime's, the preferred one first: ``auto`` on a GPU is float32.
        cpuinfo: As ``read_cpuinfo`` gives it.
    """
    if choice != "auto":
        return choice
    return "int8" if providers[:1] == (_CPU_PROVIDER,) and _has_dot_products(cpuinfo) else "fp32"


def read_cpuinfo() -> str:
    """What Linux says of the processors; empty on a system that does not."""
    try:
        return _CPUINFO.read_text()
    except OSError:
        return ""


def _has_dot_products(cpuinfo: str) -> bool:
    """Whether every processor has them: a thread may run on any."""
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    flags = [frozenset(value.split()) for name, _, value in lines if name.strip() in _FLAG_LINES]
    return bool(flags) and all(of_core & _DOT_PRODUCT_FLAGS for of_core in flags)
