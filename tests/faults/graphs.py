"""Serving graphs that a service must not come to serve: one of another shape, and one that is far too slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.servers.bundle import CLASSES, write_small_graph

_WIDTH = 1500
_LAYERS = 60


def write_wrong_shape(path: Path, seed: int) -> np.ndarray[Any, Any]:
    """The small graph, with one class more than its metadata will say."""
    dense = write_small_graph(path, seed)
    wider = np.concatenate([dense, dense[:, :1]], axis=1)
    model = onnx.load(str(path))
    for constant in model.graph.initializer:
        if constant.name in ("dense", "by_class"):
            changed = wider if constant.name == "dense" else np.ascontiguousarray(wider.T)
            constant.CopyFrom(numpy_helper.from_array(changed, constant.name))
    for output in model.graph.output:
        if output.name in ("probabilities", "bbsd_features"):
            output.type.tensor_type.shape.dim[1].dim_value = len(CLASSES) + 1
    onnx.save(model, str(path))
    return wider


def write_slow(path: Path, seed: int) -> np.ndarray[Any, Any]:
    """The small graph, with a long chain of large matrix products that changes its answer by nearly nothing."""
    class_weights = write_small_graph(path, seed)
    model = onnx.load(str(path))
    graph = model.graph
    channels = next(numpy_helper.to_array(one).shape[0] for one in graph.initializer if one.name == "dense")
    mean = np.full((_WIDTH, _WIDTH), 1 / _WIDTH, dtype=np.float32)
    graph.initializer.append(numpy_helper.from_array(mean, "mean"))
    graph.initializer.append(numpy_helper.from_array(np.full((channels, _WIDTH), 1e-6, dtype=np.float32), "widen"))
    graph.initializer.append(numpy_helper.from_array(np.full((_WIDTH, len(CLASSES)), 1e-9, dtype=np.float32), "narrow"))
    place = next(index for index, node in enumerate(graph.node) if node.op_type == "Softmax")
    softmax = graph.node[place]
    chain = [helper.make_node("MatMul", ["pooled", "widen"], ["slow0"])]
    chain += [helper.make_node("MatMul", [f"slow{n}", "mean"], [f"slow{n + 1}"]) for n in range(_LAYERS)]
    chain += [
        helper.make_node("MatMul", [f"slow{_LAYERS}", "narrow"], ["nothing"]),
        helper.make_node("Add", ["logits", "nothing"], ["late_logits"]),
    ]
    softmax.input[0] = "late_logits"
    for offset, node in enumerate(chain):
        graph.node.insert(place + offset, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return class_weights
