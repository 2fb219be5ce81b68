"""The Python model that Triton runs; its folder becomes the model repository's."""

import os
import sys

# Triton's embedded Python does not look at PYTHONPATH.
sys.path[:0] = os.environ["BENCH_PYTHONPATH"].split(":")

import numpy as np
import triton_python_backend_utils as backend
from classifier import Classifier


class TritonPythonModel:
    """One session to an instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the graph."""
        self.classifier = Classifier()

    def execute(self, requests: list[object]) -> list[object]:
        """One answer to each request."""
        answers = []
        for request in requests:
            content = backend.get_input_tensor_by_name(request, "file").as_numpy().tobytes()
            probabilities = np.array(self.classifier.predict(content), np.float32)
            answers.append(backend.InferenceResponse([backend.Tensor("probabilities", probabilities)]))
        return answers
