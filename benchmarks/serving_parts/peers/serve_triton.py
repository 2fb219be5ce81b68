"""Triton Inference Server, as PyTriton's wheel ships it: the server itself and its Python backend, no other.

So ONNX Runtime runs inside two instances of a Python model, which take the raw body over Triton's HTTP endpoint.
"""

import os
import shutil
from pathlib import Path

CONFIG = """
name: "classifier"
backend: "python"
max_batch_size: 0
input [ { name: "file", data_type: TYPE_UINT8, dims: [ -1 ] } ]
output [ { name: "probabilities", data_type: TYPE_FP32, dims: [ -1 ] } ]
instance_group [ { count: %d, kind: KIND_CPU } ]
"""

if __name__ == "__main__":
    import pytriton
    from classifier import PORT, WORKERS

    here, work = Path(__file__).parent, Path(os.environ["BENCH_WORK"]) / "triton"
    shipped = Path(pytriton.__file__).parent / "tritonserver"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(shipped / "backends", work / "backends")
    stub = shipped / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
    (work / "backends" / "python" / stub.name).symlink_to(stub)
    version = work / "models" / "classifier" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG % WORKERS)
    shutil.copyfile(here / "triton_model.py", version / "model.py")
    site_packages = shipped.parents[1]
    os.environ["BENCH_PYTHONPATH"] = f"{here}:{site_packages}"
    os.environ["LD_LIBRARY_PATH"] = str(site_packages / "nvidia_pytriton.libs")
    server = str(shipped / "bin" / "tritonserver")
    options = {
        "model-repository": work / "models",
        "backend-directory": work / "backends",
        "http-address": "127.0.0.1",
        "http-port": PORT,
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    os.execv(server, [server, *(f"--{name}={value}" for name, value in options.items())])
