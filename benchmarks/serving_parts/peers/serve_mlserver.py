"""MLServer: a custom runtime in two parallel workers, asked with the Open Inference Protocol (images as base64)."""

import base64
import json
import os
import sys
from pathlib import Path

import numpy as np
from classifier import PORT, WORKERS, Classifier
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    """One session to a worker."""

    async def load(self) -> bool:
        """Loads the graph."""
        self.classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One image."""
        content = payload.inputs[0].data.root[0]
        probabilities = self.classifier.predict(base64.b64decode(content))
        output = NumpyCodec.encode_output("probabilities", np.array([probabilities], np.float32))
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    here, folder = Path(__file__).parent, Path(os.environ["BENCH_WORK"]) / "mlserver"
    (folder / "classifier").mkdir(parents=True, exist_ok=True)
    ports = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2}
    settings = {"host": "127.0.0.1", "parallel_workers": WORKERS, "debug": False, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "classifier", "implementation": "serve_mlserver.Runtime"}
    (folder / "classifier" / "model-settings.json").write_text(json.dumps(model))
    os.environ["PYTHONPATH"] = str(here)
    mlserver_cli = str(Path(sys.executable).with_name("mlserver"))
    os.execv(mlserver_cli, [mlserver_cli, "start", str(folder)])
