"""``mlflow models serve``: a Python model of the graph, two workers. Images go as base64, the form MLflow documents."""

import base64
import os
import shutil
import sys
from pathlib import Path

import mlflow
from classifier import PORT, WORKERS, Classifier
from mlflow.pyfunc import PythonModel


class Model(PythonModel):
    """A list of images in base64 to a list of probabilities."""

    def load_context(self, context: object) -> None:
        """Loads the graph."""
        self.classifier = Classifier()

    def predict(self, context: object, model_input: list[str], params: object = None) -> list[list[float]]:
        """All images of one request."""
        return self.classifier.predict_batch([base64.b64decode(item) for item in model_input])


if __name__ == "__main__":
    folder = Path(os.environ["BENCH_WORK"]) / "mlflow_model"
    shutil.rmtree(folder, ignore_errors=True)
    here = Path(__file__).parent
    mlflow.pyfunc.save_model(
        str(folder), python_model=Model(), code_paths=[str(here / "classifier.py")], pip_requirements=["onnxruntime"]
    )
    mlflow_cli = str(Path(sys.executable).with_name("mlflow"))
    os.execv(
        mlflow_cli,
        [
            mlflow_cli,
            "models",
            "serve",
            "-m",
            str(folder),
            "--env-manager",
            "local",
            "-h",
            "127.0.0.1",
            "-p",
            str(PORT),
            "-w",
            str(WORKERS),
        ],
    )
