"""What a serving graph costs: its export, and what the drift encoder and the activation map add to a classification.

    python benchmarks/serving_graph.py

Each part is cut out of the same graph and runs on one thread; parts take turns, so that other work on the machine
meets all of them. Prints a table and writes benchmarks/results/serving_graph.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnx.utils
import onnxruntime as ort

from onsight.config import ModelConfig

NETWORKS = (("small_cnn", 50), ("efficientnet_lite0", 128))
PARTS = {
    "probabilities": ["probabilities"],
    "with drift features": ["probabilities", "uae_features", "bbsd_features"],
    "with activation map": ["probabilities", "activation_map"],
    "everything": ["probabilities", "uae_features", "bbsd_features", "activation_map"],
}
RESULTS = Path(__file__).parent / "results" / "serving_graph.json"


def cpu_s() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def export(architecture: str, side: int, graph: Path) -> dict[str, float]:
    """Write the graph of an untrained network; wall and CPU seconds and megabytes."""
    from onsight.training import build_classifier, build_encoder, export_serving_graph

    config = ModelConfig.model_validate(
        {
            "model_name": "bench",
            "input_size": {"w": side, "h": side},
            "classes": ("a", "b"),
            "architecture": architecture,
        }
    )
    network, encoder = build_classifier(config, seed=1), build_encoder(32, 32, seed=0)
    started_s, started_cpu_s = time.perf_counter(), cpu_s()
    export_serving_graph(network, encoder, config, graph)
    return {
        "wall_s": round(time.perf_counter() - started_s, 2),
        "cpu_s": round(cpu_s() - started_cpu_s, 2),
        "megabytes": round(graph.stat().st_size / 1e6, 2),
    }


def sessions(graph: Path) -> dict[str, ort.InferenceSession]:
    """One session for each part of the graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    found = {}
    for name, outputs in PARTS.items():
        part = graph.with_name("part.onnx")
        onnx.utils.extract_model(str(graph), str(part), ["image"], outputs)
        found[name] = ort.InferenceSession(str(part), options)
    return found


def cost_per_image(parts: dict[str, ort.InferenceSession], side: int, batch_size: int, rounds: int) -> dict[str, float]:
    """Median CPU-milliseconds per image of each part."""
    images = np.random.default_rng(0).integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8)
    repeats = max(3, 64 // batch_size)
    costs: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, session in parts.items():
            started_s = cpu_s()
            for _ in range(repeats):
                session.run(None, {"image": images})
            costs[name].append((cpu_s() - started_s) * 1000 / repeats / batch_size)
    return {name: round(median(values), 4) for name, values in costs.items()}


def main() -> None:
    """Measure each network at batch 1, 8 and 32."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    results = []
    for architecture, side in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "model.onnx"
            exported = export(architecture, side, graph)
            parts = sessions(graph)
            print(f"{architecture} at {side} px: export {exported}")
            for batch_size in (1, 8, 32):
                costs = cost_per_image(parts, side, batch_size, rounds)
                shares = {name: costs[name] / costs["probabilities"] - 1 for name in costs}
                for name, cost in costs.items():
                    print(f"  batch {batch_size:<3} {name:<20} {cost:8.3f} CPU ms per image  {shares[name]:+7.1%}")
                results.append({"network": architecture, "side": side, "batch": batch_size, "cpu_ms": costs} | exported)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
