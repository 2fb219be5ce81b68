"""How long a training step of the demo network waits for its images, and how many images the pipeline could give.

    python benchmarks/input_pipeline.py --steps 40

Trains the demo's network on the demo's images with the demo's augmentation, measures the time between asking for a
batch and having it, then reads the same batches without training. Prints a table and writes
benchmarks/results/input_pipeline.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tensorflow as tf

from onsight.config import Augmenter, FullFlowConfig, read_config
from onsight.datasets import read_annotations
from onsight.training import Augmentation, build_classifier
from onsight.training.objective import Objective, freeze
from onsight.training.pipeline import ImageSource, TrainingBatches

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "input_pipeline.json"
POOL_BATCHES = 64


def wait_share(config: FullFlowConfig, batches: TrainingBatches, steps: int, *, frozen: bool) -> dict[str, float]:
    """Seconds per step that training computes and that it waits, and the share that it waits.

    Args:
        config: Of the network and its training.
        batches: The training split.
        steps: How many to measure, after two that warm up.
        frozen: Train the head alone: the quickest step, so the one that an input pipeline is most likely to hold up.
    """
    tf.config.experimental.enable_op_determinism()
    network = build_classifier(config.model, config.train.hparams.seed)
    share = 0.0 if frozen else config.train.hparams.unfreeze_share
    freeze(network, unfrozen_share=share, pretrained=config.model.weights != "none")
    Objective(config.model, config.train.hparams, batches.source.split.labels).compile(network, 1e-4, steps)
    waits_s, computes_s, stream = [], [], iter(batches.epoch(0).repeat())
    for _ in range(steps + 2):
        asked_s = time.perf_counter()
        images, labels = next(stream)
        given_s = time.perf_counter()
        network.train_on_batch(images, labels)
        waits_s.append(given_s - asked_s)
        computes_s.append(time.perf_counter() - given_s)
    wait_s, compute_s = float(np.mean(waits_s[2:])), float(np.mean(computes_s[2:]))
    return {"compute_s": compute_s, "wait_s": wait_s, "wait_share": wait_s / (wait_s + compute_s)}


def images_per_s(batches: TrainingBatches) -> float:
    """Augmented images per second when nothing trains."""
    started_s = time.perf_counter()
    n_images = sum(len(images) for images, _ in batches.epoch(1))
    return n_images / (time.perf_counter() - started_s)


_augmentation: Augmentation


def _start_worker(chain: tuple[Augmenter, ...]) -> None:
    global _augmentation  # noqa: PLW0603 - a worker process has no other place for it
    _augmentation = Augmentation(chain)


def _augment(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    return len(_augmentation(images, 1))


def pool_images_per_s(pool: Executor, batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """Images per second augmented by a pool of threads or processes, batches sent to it and back."""
    list(pool.map(_augment, [batch] * 4))
    started_s = time.perf_counter()
    n_images = sum(pool.map(_augment, [batch] * POOL_BATCHES))
    return n_images / (time.perf_counter() - started_s)


def measure(config: FullFlowConfig, steps: int) -> dict[str, dict[str, float]]:
    """All figures by what they are of."""
    dataset = read_annotations(ROOT / config.dataset.ds_root / config.dataset.ds_name, "", "", config.dataset.ds_name)
    size, train = config.model.input_size, config.train
    source = ImageSource(dataset.splits["train"], size.w, size.h)

    def batches(workers: int) -> TrainingBatches:
        return TrainingBatches(
            source, Augmentation(train.augmentation), train.hparams.batch_size, train.hparams.seed, workers
        )

    first = source.images(np.arange(train.hparams.batch_size))
    _start_worker(train.augmentation)
    pools: dict[str, Callable[[], Executor]] = {
        "2 threads": lambda: ThreadPoolExecutor(2),
        "2 processes": lambda: ProcessPoolExecutor(
            2, get_context("spawn"), initializer=_start_worker, initargs=(train.augmentation,)
        ),
    }
    pooled = {}
    for name, open_pool in pools.items():
        with open_pool() as pool:
            pooled[f"augmenting alone, {name}"] = {"images_per_s": pool_images_per_s(pool, first)}
    piped = {f"pipeline, workers={n}": {"images_per_s": images_per_s(batches(n))} for n in (1, 2)}
    return {
        "step, frozen backbone": wait_share(config, batches(train.workers), steps, frozen=True),
        "step, fine-tuning": wait_share(config, batches(train.workers), steps, frozen=False),
        **piped,
        **pooled,
    }


def main() -> None:
    """Measure the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    config = read_config(ROOT / "configs" / "full_flow_config.yaml")
    if not isinstance(config, FullFlowConfig):
        raise SystemExit("the demo's config is no full flow")
    measured = measure(config, parser.parse_args().steps)
    figures = {name: {key: round(value, 4) for key, value in values.items()} for name, values in measured.items()}
    for name, values in figures.items():
        print(f"{name:<32}" + "  ".join(f"{key} {value:g}" for key, value in values.items()))
    size = config.model.input_size
    setting = {
        "network": f"{config.model.architecture}, {size.w}x{size.h}",
        "batch_size": config.train.hparams.batch_size,
        "workers": config.train.workers,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(setting | {"figures": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
