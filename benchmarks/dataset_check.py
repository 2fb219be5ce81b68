"""How long the flow's data-set check takes: an unchanged set, a changed one, another tag, and a cold cache.

    python benchmarks/dataset_check.py --images 30000

Prints a table and writes benchmarks/results/dataset_check.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from onsight.config.dataset import DatasetConfig
from onsight.datasets import ImportRequest, checkout_dataset, import_dataset

CLASSES = 10
SIDE = 28
RESULTS = Path(__file__).parent / "results" / "dataset_check.json"


def write_images(folder: Path, count: int) -> None:
    """Small grey pictures, all different, in class folders."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / f"class_{index % CLASSES}" / f"{index:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)).save(path)


def measure(images: int, folder: Path) -> dict[str, float]:
    """Seconds of each step, in the order in which a user meets them."""
    seconds: dict[str, float] = {}
    source, ds_root = folder / "source", folder / "datasets"
    root = ds_root / "small"
    config = DatasetConfig(ds_root=ds_root, ds_name="small", dvc_tag="v1.0.0")

    def timed(name: str, step: Callable[[], object]) -> None:
        start = time.perf_counter()
        step()
        seconds[name] = round(time.perf_counter() - start, 2)

    write_images(source, images)
    timed("import", lambda: import_dataset(ImportRequest(source, "small", ds_root)))
    timed("first check", lambda: checkout_dataset(config))
    timed("check, unchanged", lambda: checkout_dataset(config))
    timed("check, unchanged again", lambda: checkout_dataset(config))
    for path in sorted(root.glob("images/train/*/*"))[:100]:
        path.unlink()
    timed("check, 100 images deleted", lambda: checkout_dataset(config))
    shutil.rmtree(root / "images")
    shutil.rmtree(root / ".dvc" / "cache")
    timed("check, cache and images gone", lambda: checkout_dataset(config))
    timed("check, unchanged after that", lambda: checkout_dataset(config))
    return seconds


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_SITE_CACHE_DIR"] = f"{folder}/dvc"
        seconds = measure(options.images, Path(folder))
    for name, value in seconds.items():
        print(f"{name:<32} {value:8.2f} s")
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"images": options.images, "pixels": f"{SIDE}x{SIDE}", "cores": os.cpu_count(), "seconds": seconds}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
