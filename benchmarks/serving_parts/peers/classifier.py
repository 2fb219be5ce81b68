"""What every peer serves: the classifier-only graph behind ONNX Runtime, one thread to a call. Imported by the peers'
own Pythons, which know nothing of Onsight."""

import io
import os

import numpy as np
import onnxruntime as ort
from PIL import Image

PORT = int(os.environ.get("BENCH_PORT", "0"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
BATCH = int(os.environ.get("BENCH_BATCH", "1"))
GRAPH = os.environ.get("BENCH_GRAPH", "")
SIDE = int(os.environ.get("BENCH_SIDE", "0"))


class Classifier:
    """Image files to probabilities."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
        self.run_pixels(np.zeros((1, SIDE, SIDE, 3), np.uint8))

    @staticmethod
    def decode(content: bytes) -> np.ndarray:
        """Uint8 [SIDE, SIDE, 3], RGB, bicubic."""
        image = Image.open(io.BytesIO(content)).convert("RGB")
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    def run_pixels(self, images: np.ndarray) -> np.ndarray:
        """Probabilities [N, C] of uint8 [N, SIDE, SIDE, 3]."""
        return self._session.run(["probabilities"], {"image": images})[0]

    def predict(self, content: bytes) -> list[float]:
        """Probabilities of one image file."""
        return self.run_pixels(self.decode(content)[np.newaxis])[0].tolist()

    def predict_batch(self, contents: list[bytes]) -> list[list[float]]:
        """Probabilities of several."""
        return self.run_pixels(np.stack([self.decode(content) for content in contents])).tolist()
