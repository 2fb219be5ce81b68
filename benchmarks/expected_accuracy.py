"""How near expected accuracy comes to the truth: on held-out images as they are, changed, and in another class mix.

    python benchmarks/expected_accuracy.py --bundle elpv-v1 --dataset datasets/elpv

The map from confidence to accuracy is measured on the test split, as training does it; the other held-out split, valid,
stands for traffic. Prints a table and writes benchmarks/results/expected_accuracy.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from onsight.bundle import Engine, load_bundle
from onsight.domain import ScoredSplit
from onsight.evaluation import answer_confidence, expected_accuracy, fit_confidence_map
from onsight.serving import load_images
from onsight.settings import Settings
from onsight.storage import open_store

RESULTS = Path(__file__).parent / "results" / "expected_accuracy.json"
RARE_SHARE = 0.8
Pixels = NDArray[np.uint8]


def changes(pixels: Pixels) -> Iterator[tuple[str, Pixels]]:
    """The images as they are, and changed in ways that cameras and lamps change them."""
    values, draw = pixels.astype(np.float64), np.random.default_rng(0)
    yield "as they are", pixels
    for name, changed in (
        ("noise, sigma 20 of 255", values + draw.normal(0, 20, values.shape)),
        ("40 % darker", values * 0.6),
        ("blur, sigma 1.5 px", gaussian_filter(values, (0, 1.5, 1.5, 0))),
    ):
        yield name, np.clip(changed, 0, 255).astype(np.uint8)


def main() -> None:
    """Measure a multi-class bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="elpv-v1")
    parser.add_argument("--dataset", type=Path, default=Path("datasets/elpv"), help="with images/<split>/<class>/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        bundle = load_bundle(open_store(Settings()), options.bundle, Path(cache), Engine())
    metadata, run = bundle.metadata, bundle.classifier.run
    splits = {}
    for split in ("test", "valid"):
        paths = sorted((options.dataset / "images" / split).glob("*/*"))
        labels = np.array([metadata.classes.index(path.parent.name) for path in paths])
        splits[split] = (paths, labels, load_images(paths, metadata.input_width, metadata.input_height))

    def answer(pixels: Pixels) -> NDArray[np.float32]:
        return np.concatenate([run(pixels[start : start + 32]).probabilities for start in range(0, len(pixels), 32)])

    paths, labels, pixels = splits["test"]
    truth = np.eye(len(metadata.classes), dtype=np.float32)[labels]
    fitted = fit_confidence_map(ScoredSplit("test", tuple(paths), truth, answer(pixels), metadata.classes))
    _, labels, pixels = splits["valid"]
    rare = np.bincount(labels).argmin()
    shares = np.where(labels == rare, RARE_SHARE / (labels == rare).mean(), (1 - RARE_SHARE) / (labels != rare).mean())
    rows = []
    for name, changed in changes(pixels):
        probabilities = answer(changed)
        confidences = answer_confidence(probabilities, is_multi_label=False)
        values = np.stack([expected_accuracy(confidences, fitted), confidences, probabilities.argmax(axis=1) == labels])
        rows.append((name, *np.average(values, axis=1).round(3).tolist()))
        if name == "as they are":
            shifted = f"{RARE_SHARE:.0%} {metadata.classes[rare]} instead of {(labels == rare).mean():.0%}"
            rows.append((shifted, *np.average(values, axis=1, weights=shares).round(3).tolist()))
    print(f"| {len(labels)} images, map of {fitted.n_images} | expected | mean confidence | real |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    columns = ("images", "expected", "mean_confidence", "real")
    RESULTS.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
