"""A ``.keras`` file as an MLflow model folder: what ``mlflow.keras.save_model`` writes, without loading the network."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.environment import _PythonEnv

__all__ = ["write_model_folder"]

_RUNTIME_PACKAGES = ("mlflow", "keras", "tensorflow", "tensorflow-cpu", "numpy")


def write_model_folder(keras_path: Path, input_size: tuple[int, int], classes: Sequence[str], folder: Path) -> None:
    """Write a folder that ``mlflow.pyfunc`` and ``mlflow.keras`` load.

    Args:
        keras_path: A network from uint8 [N, H, W, 3] to float32 [N, C].
        input_size: (H, W), in pixels.
        classes: C of them; kept in the model's metadata.
        folder: Where to write; made here.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    shutil.copyfile(keras_path, data / "model.keras")
    (data / "keras_module.txt").write_text("keras")
    height, width = input_size
    model = Model(
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width, 3))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(classes)))]),
        ),
        metadata={"classes": list(classes)},
    )
    model.add_flavor(
        "keras",
        data="data",
        keras_version=_keras_version(keras_path),
        keras_backend="tensorflow",
        save_exported_model=False,
    )
    mlflow.pyfunc.add_to_model(
        model, loader_module="mlflow.keras", conda_env="conda.yaml", python_env="python_env.yaml"
    )
    model.model_size_bytes = sum(path.stat().st_size for path in data.iterdir())
    model.save(str(folder / "MLmodel"))
    _write_environment(folder)


def _keras_version(keras_path: Path) -> str:
    with zipfile.ZipFile(keras_path) as archive:
        return str(json.loads(archive.read("metadata.json"))["keras_version"])


def _write_environment(folder: Path) -> None:
    requirements = [f"{name}=={installed}" for name in _RUNTIME_PACKAGES if (installed := _installed(name))]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    python = _PythonEnv.current()
    python.to_yaml(str(folder / "python_env.yaml"))
    environment = {
        "name": "mlflow-env",
        "dependencies": [f"python={python.python}", "pip", {"pip": requirements}],
    }
    (folder / "conda.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
