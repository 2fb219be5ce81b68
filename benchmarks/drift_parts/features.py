"""Features of real and corrupted pictures from a bundle's graph, computed once and kept in the work folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import laplace

from onsight.drift import DriftSample
from onsight.images import decode_image, resize_image

__all__ = ["FeatureReader", "Features"]

Array = NDArray[np.float64]
_BATCH = 64
_SEED = 2019


@dataclass(frozen=True)
class Features:
    """Row i of everything is the same picture.

    Attributes:
        probabilities: [N, C]; the demo bundle's BBSD features are these.
        uae: [N, D] for each width D of the drift encoder.
        properties: [N] each.
    """

    probabilities: Array
    uae: dict[int, Array]
    properties: dict[str, Array]

    def sample(self, rows: NDArray[np.intp], dims: int) -> DriftSample:
        """The rows, as drift tests take them; with no clients, so that nothing is thinned."""
        return DriftSample(
            uae_feats=self.uae[dims][rows],
            bbsd_feats=self.probabilities[rows],
            probabilities=self.probabilities[rows],
            properties={name: values[rows] for name, values in self.properties.items()},
            formats=(),
            clients=(),
            created_at_s=np.empty(0),
        )


class FeatureReader:
    """Runs a bundle's graph over pictures.

    The encoder's last layer is a random projection of its convolutions' 512 outputs. The bundle's own has 32
    dimensions; for other widths the same convolutions are followed by a projection drawn in the same way (Glorot
    uniform), as ``build_encoder`` would.

    Args:
        graph: The bundle's ``model.onnx``.
        dims: Widths beside the bundle's own.
        cache: Folder of the features that were computed before.
    """

    def __init__(self, graph: Path, dims: Sequence[int], cache: Path) -> None:
        self.dims, self.cache = tuple(dims), cache
        self.digest = hashlib.sha256(graph.read_bytes()).hexdigest()[:12]
        model = onnx.load(str(graph))
        self.inner = _encoder_input(model)
        model.graph.output.append(onnx.ValueInfoProto(name=self.inner))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        _, self.height, self.width, _ = self.session.get_inputs()[0].shape

    def read(
        self, name: str, paths: Sequence[Path], change: Callable[[Image.Image, np.random.Generator], Image.Image] | None
    ) -> Features:
        """Features of the pictures after ``change``, from the cache if they are there."""
        key = hashlib.sha256("\n".join([self.digest, name, *map(str, self.dims), *(p.name for p in paths)]).encode())
        file = self.cache / f"{name.replace(' ', '_')}-{key.hexdigest()[:12]}.npz"
        if not file.is_file():
            self.cache.mkdir(parents=True, exist_ok=True)
            np.savez(file, **self._computed(paths, change))
        with np.load(file, allow_pickle=False) as arrays:
            uae = {int(key[4:]): arrays[key].astype(np.float64) for key in arrays if key.startswith("uae_")}
            properties = {key[2:]: arrays[key] for key in arrays if key.startswith("p_")}
            return Features(arrays["probabilities"].astype(np.float64), uae, properties)

    def _computed(
        self, paths: Sequence[Path], change: Callable[[Image.Image, np.random.Generator], Image.Image] | None
    ) -> dict[str, NDArray[np.floating]]:
        batches = []
        for start in range(0, len(paths), _BATCH):
            pictures = []
            for row, path in enumerate(paths[start : start + _BATCH], start):
                picture = Image.fromarray(decode_image(path.read_bytes()))
                pictures.append(change(picture, np.random.default_rng([_SEED, row])) if change else picture)
            batches.append(self._batch(pictures))
        return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}

    def _batch(self, pictures: Sequence[Image.Image]) -> dict[str, NDArray[np.floating]]:
        pixels = np.stack([resize_image(np.asarray(picture), self.width, self.height) for picture in pictures])
        names = ["probabilities", "uae_features", self.inner]
        probabilities, uae, inner = self.session.run(names, {"image": pixels})
        flat = inner.reshape(len(inner), -1)
        columns = {"probabilities": probabilities, f"uae_{uae.shape[1]}": uae}
        for width in self.dims:
            limit = np.sqrt(6 / (flat.shape[1] + width * flat.shape[1] / inner.shape[1]))
            projection = np.random.default_rng(_SEED + width).uniform(-limit, limit, (flat.shape[1], width))
            columns[f"uae_{width}"] = (flat @ projection).astype(np.float32)
        return columns | {f"p_{name}": values for name, values in _properties(pictures).items()}


def _properties(pictures: Sequence[Image.Image]) -> dict[str, Array]:
    greys = [np.asarray(picture.convert("L"), np.float64) for picture in pictures]
    return {
        "brightness": np.array([grey.mean() for grey in greys]),
        "contrast": np.array([grey.std() for grey in greys]),
        "sharpness": np.array([laplace(grey).var() for grey in greys]),
        "width": np.array([float(picture.width) for picture in pictures]),
        "height": np.array([float(picture.height) for picture in pictures]),
        "aspect": np.array([picture.width / picture.height for picture in pictures]),
    }


def _encoder_input(model: onnx.ModelProto) -> str:
    """The tensor before the encoder's last layer: going back from ``uae_features``, the first convolution's input."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    name = "uae_features"
    while made_by[name].op_type != "Conv":
        name = made_by[name].input[0]
    return str(made_by[name].input[0])
