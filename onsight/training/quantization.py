"""The int8 variant of a serving graph: the same inputs and outputs, the classifier's convolutions in 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onsight.bundle import OnnxClassifier
from onsight.errors import ConversionError

__all__ = ["quantize_graph"]

_BATCH_SIZE = 16
_OUTPUT = "probabilities"
# What stands between convolutions: were it left in float32, each tensor would be converted to it and back.
_QUANTIZED = ("Conv", "Add", "Clip", "Relu", "MaxPool")
# The largest weight in 7 bits, and in 8.
_REDUCED, _WHOLE = 64, 127


@dataclass(frozen=True)
class _Measured:
    """What tensors were on the calibration images.

    Attributes:
        ranges: Smallest and largest value, by tensor.
        means: Of each channel, by the tensor that a convolution takes.
    """

    ranges: dict[str, tuple[np.float32, np.float32]]
    means: dict[str, NDArray[np.float32]]


def quantize_graph(graph: Path, images: NDArray[np.uint8], path: Path) -> None:
    """Write the int8 variant of a serving graph, by static quantisation.

    Activations are uint8, their ranges the smallest and largest values on the images given. Weights are int8 with one
    scale for each channel, and keep to 7 bits: processors without VNNI add two products in 16 bits, which overflow
    above that, so that a graph with whole weights answers otherwise on them. Depthwise convolutions are computed in 32
    bits everywhere, and keep 8. What rounding the weights does to the mean of each channel is taken off its bias (Nagel
    et al., *Data-Free Quantization Through Weight Equalization and Bias Correction*, ICCV 2019, section 4.2). The
    classification layer, the softmax, the drift encoder and the activation map stay float32.

    Args:
        graph: What ``export_serving_graph`` wrote.
        images: uint8 [M, H, W, 3], RGB: of the training set, for calibration.
        path: Of the file; its folder exists.

    Raises:
        ConversionError: It cannot be quantised.
    """
    with TemporaryDirectory(prefix="onsight-int8-") as folder:
        try:
            _quantize(graph, images, path, Path(folder))
            OnnxClassifier.load(path)
        except Exception as error:  # ONNX Runtime's errors share no base class but this one
            raise ConversionError(
                f"the serving graph {graph} cannot be quantised: {error}",
                hint="model.int8.enabled: false in the config leaves the int8 variant out",
            ) from error


def _quantize(graph: Path, images: NDArray[np.uint8], path: Path, folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, ranges = folder / "prepared.onnx", folder / "ranges.json"
    # Folds normalisation into the convolutions, as the runtime would.
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    nodes = _nodes_to_quantize(model.graph)
    measured = _measure(model, nodes, images)
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, measured.ranges), ranges)
    weights = _initializers(model.graph)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    for node in convolutions:
        _correct_bias(model.graph, node, weights, measured.means[node.input[0]])
    onnx.save(model, str(prepared))
    whole = [node.input[1] for node in convolutions if _largest_weight(node, weights[node.input[1]]) == _WHOLE]
    quantize_static(
        prepared,
        path,
        calibration_cache_path=ranges,
        nodes_to_quantize=[node.name for node in nodes],
        op_types_to_quantize=list(_QUANTIZED),
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"TensorQuantOverrides": {name: [{"axis": 0, "reduce_range": False}] for name in whole}},
    )


def _nodes_to_quantize(graph: Any) -> list[Any]:  # noqa: ANN401 - ONNX is untyped
    """The classifier's convolutions and what stands between them; not a sum with a constant, as of pixel scaling."""
    constants = {initializer.name for initializer in graph.initializer}
    nodes = [node for node in _ancestors(graph.node, _OUTPUT) if node.op_type in _QUANTIZED]
    chosen = [node for node in nodes if node.op_type != "Add" or not constants.intersection(node.input)]
    if not any(node.op_type == "Conv" for node in chosen):
        raise ValueError("it has no convolution")
    return chosen


def _ancestors(nodes: Iterable[Any], tensor: str) -> list[Any]:
    """The nodes that a tensor is computed from."""
    by_output = {output: node for node in nodes for output in node.output}
    found: dict[str, Any] = {}
    wanted = [tensor]
    while wanted:
        node = by_output.get(wanted.pop())
        if node is not None and node.output[0] not in found:
            found[node.output[0]] = node
            wanted.extend(node.input)
    return list(found.values())


def _initializers(graph: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - ONNX is untyped
    from onnx import numpy_helper

    return {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}


def _measure(model: Any, nodes: list[Any], images: NDArray[np.uint8]) -> _Measured:  # noqa: ANN401 - ONNX is untyped
    """Run the images through the graph, which itself reduces each tensor to the numbers that are wanted."""
    import onnx
    from onnx import TensorProto, helper

    constants = {initializer.name for initializer in model.graph.initializer}
    tensors = sorted({name for node in nodes for name in (*node.input, *node.output) if name} - constants)
    inputs = sorted({node.input[0] for node in nodes if node.op_type == "Conv"})
    wanted = [(kind, name) for kind in ("ReduceMin", "ReduceMax") for name in tensors]
    wanted += [("GlobalAveragePool", name) for name in inputs]
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    for kind, name in wanted:
        output = f"{kind}/{name}"
        measuring.graph.node.append(helper.make_node(kind, [name], [output], name=output))
        measuring.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = ort.InferenceSession(measuring.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = np.split(images, range(_BATCH_SIZE, len(images), _BATCH_SIZE))
    found = [session.run([f"{kind}/{name}" for kind, name in wanted], {"image": batch}) for batch in batches]
    columns = dict(zip(wanted, zip(*found, strict=True), strict=True))
    return _Measured(
        {name: (np.min(columns["ReduceMin", name]), np.max(columns["ReduceMax", name])) for name in tensors},
        {name: np.concatenate(columns["GlobalAveragePool", name]).mean(axis=(0, 2, 3)) for name in inputs},
    )


def _largest_weight(convolution: Any, weights: NDArray[np.float32]) -> int:  # noqa: ANN401 - ONNX is untyped
    """In 8 bits for a depthwise convolution, one filter for each channel."""
    return _WHOLE if 1 < len(weights) == _groups(convolution) and weights.shape[1] == 1 else _REDUCED


def _groups(convolution: Any) -> int:  # noqa: ANN401 - ONNX is untyped
    return next((int(attribute.i) for attribute in convolution.attribute if attribute.name == "group"), 1)


def _correct_bias(
    graph: Any,  # noqa: ANN401 - ONNX is untyped
    convolution: Any,  # noqa: ANN401
    arrays: dict[str, NDArray[Any]],
    means: NDArray[np.float32],
) -> None:
    """Give a convolution a bias that makes good what rounding its weights does to the mean of each channel.

    Args:
        graph: Gets the new bias.
        convolution: Of that graph.
        arrays: The graph's initializers.
        means: float32 [I], of the channels that go in.
    """
    from onnx import numpy_helper

    weights = arrays[convolution.input[1]]
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / _largest_weight(convolution, weights)
    scale[scale == 0] = 1
    lost = (weights - np.rint(weights / scale) * scale).sum(axis=(2, 3))
    groups = _groups(convolution)
    by_group = lost.reshape(groups, -1, lost.shape[1])
    correction = np.einsum("goi,gi->go", by_group, means.reshape(groups, -1)).reshape(-1)
    had_bias = len(convolution.input) > 2  # noqa: PLR2004 - input, weights, bias
    bias = correction + (arrays[convolution.input[2]] if had_bias else 0)
    # Under a name of its own: two convolutions may share a bias.
    name = f"{convolution.output[0]}/corrected_bias"
    graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), name))
    convolution.input[2:] = [name]
