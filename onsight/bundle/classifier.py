"""The serving graph behind ONNX Runtime: pixels in, probabilities, features and activation map out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onsight.domain import ModelOutput
from onsight.errors import BundleError, ConfigError

__all__ = ["Engine", "OnnxClassifier"]

_INPUT = "image"
_OUTPUTS = ("probabilities", "uae_features", "bbsd_features", "activation_map")
_FEATURE_MAPS = "feature_maps"
_IMAGE_RANK, _CHANNELS = 4, 3
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Engine:
    """How ONNX Runtime runs a graph.

    Attributes:
        threads: That work on one call; 0 takes all cores.
        providers: Execution providers in the order of preference, such as ``CUDAExecutionProvider``.
    """

    threads: int = 0
    providers: tuple[str, ...] = (_CPU,)

    def check(self) -> None:
        """Refuses providers that this ONNX Runtime was built without; it would pass over them without a word.

        Raises:
            ConfigError: Naming them.
        """
        installed = ort.get_available_providers()
        if missing := [name for name in self.providers if name not in installed]:
            raise ConfigError(f"ONNX Runtime here has no {', '.join(missing)}", f"choose from {', '.join(installed)}")


class OnnxClassifier:
    """A loaded ``model.onnx``. Safe to call from several threads.

    Attributes:
        input_width: Pixels.
        input_height: Pixels.
        n_classes: C.
        n_features: F, or None: the graph is of an older release and does not give its feature maps.
    """

    def __init__(self, session: ort.InferenceSession, graph_path: Path) -> None:
        self._session = session
        self.input_height, self.input_width, self.n_classes = _checked_shapes(session, graph_path)
        self.n_features = _feature_count(session, graph_path)

    @classmethod
    def load(cls, graph_path: Path, engine: Engine = Engine()) -> OnnxClassifier:
        """Load a graph.

        Args:
            graph_path: The ``model.onnx`` of a bundle.
            engine: How it is run.

        Raises:
            BundleError: The file is no ONNX graph, or has other inputs and outputs than a serving graph.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = engine.threads
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(graph_path), options, providers=list(engine.providers))
        except Exception as error:  # ONNX Runtime's own errors share no base class but this one
            raise BundleError(
                f"{graph_path} cannot be loaded: {error}", hint="publish the version again", graph=str(graph_path)
            ) from error
        return cls(session, graph_path)

    def run(self, images: NDArray[np.uint8]) -> ModelOutput:
        """Answer a batch.

        Args:
            images: uint8 [N, H, W, 3], RGB, at the graph's input size.

        Raises:
            ValueError: Another shape or dtype.
        """
        self._check_images(images)
        return ModelOutput(*self._session.run(_OUTPUTS, {_INPUT: images}))

    def run_explained(self, images: NDArray[np.uint8]) -> tuple[ModelOutput, NDArray[np.float32]]:
        """Answer a batch, with the maps that an explanation of any class is made of.

        Args:
            images: As for ``run``.

        Returns:
            The answer, and the feature maps before pooling, float32 [N, h, w, F].

        Raises:
            BundleError: The graph does not give its feature maps.
            ValueError: Another shape or dtype.
        """
        if self.n_features is None:
            raise BundleError(
                "the graph gives no feature maps: it was exported before answers could be explained",
                hint="train or export the model again to have its answers explained",
            )
        self._check_images(images)
        *output, feature_maps = self._session.run((*_OUTPUTS, _FEATURE_MAPS), {_INPUT: images})
        return ModelOutput(*output), feature_maps

    def _check_images(self, images: NDArray[np.uint8]) -> None:
        expected = (len(images), self.input_height, self.input_width, 3)
        if images.shape != expected or images.dtype != np.uint8:
            raise ValueError(f"images are uint8 {list(expected)}, not {images.dtype} {list(images.shape)}")


def _checked_shapes(session: ort.InferenceSession, graph_path: Path) -> tuple[int, int, int]:
    """Input height and width and the number of classes, once inputs and outputs are as they must be."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    if list(inputs) != [_INPUT] or not set(_OUTPUTS) <= set(outputs):
        raise _wrong_graph(graph_path, f"inputs {sorted(inputs)}, outputs {sorted(outputs)}")
    kind, shape, answers = inputs[_INPUT].type, inputs[_INPUT].shape, outputs["probabilities"]
    fixed: Sequence[object] = [*shape[1:], answers[-1]]
    is_batch = kind == "tensor(uint8)" and len(shape) == _IMAGE_RANK and not isinstance(shape[0], int)
    if not is_batch or shape[-1] != _CHANNELS or not all(isinstance(size, int) for size in fixed):
        raise _wrong_graph(graph_path, f"input {kind} {shape}, probabilities {answers}")
    height, width, _, n_classes = (int(str(size)) for size in fixed)
    return height, width, n_classes


def _feature_count(session: ort.InferenceSession, graph_path: Path) -> int | None:
    shape = {node.name: node.shape for node in session.get_outputs()}.get(_FEATURE_MAPS)
    if shape is None:
        return None
    if len(shape) != _IMAGE_RANK or not isinstance(shape[-1], int):
        raise _wrong_graph(graph_path, f"feature maps {shape}")
    return shape[-1]


def _wrong_graph(graph_path: Path, found: str) -> BundleError:
    return BundleError(
        f"{graph_path} is no serving graph: {found}",
        hint=f"it takes {_INPUT} as uint8 [N, H, W, 3] with a free N, and gives {', '.join(_OUTPUTS)}",
        graph=str(graph_path),
    )
