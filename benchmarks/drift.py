"""Whether drift verdicts can be trusted: false alarms, detection beside alibi-detect's detectors, and what they cost.

    OMP_NUM_THREADS=1 python benchmarks/drift.py

Prints Markdown tables and writes benchmarks/results/drift.json. It needs the demo's bundle and data set (``make
demo``). Features of corrupted pictures are computed once and kept in the work folder; ``--quick`` takes few draws.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.drift_parts.cost import cost, huge_window
from benchmarks.drift_parts.false_alarms import QuietCell, false_alarms
from benchmarks.drift_parts.features import FeatureReader
from benchmarks.drift_parts.pictures import PictureSet, read_pictures
from benchmarks.drift_parts.power import DETECTORS, RIVALS, PowerCell, check_rivals, power, rivals_together

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "drift.json"
PARTS = ("false-alarms", "power", "cost")
WIDE_DIMS = (128, 512)
HUGE_ROWS = 1_000_000
CLEARLY = 0.03


def main() -> None:
    """Run the parts that were asked for; results of the others stay."""
    options = _options()
    result: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if "cost" in options.only:
        result["cost"] = _cost(options)
        _write(result, options)
    if {"false-alarms", "power"} & set(options.only):
        reader = FeatureReader(options.bundle / "model.onnx", WIDE_DIMS, options.work)
        pictures = read_pictures(reader, options.dataset)
        for part, run in (("power", _power), ("false-alarms", _false_alarms)):
            if part in options.only:
                result[part.replace("-", "_")] = run(pictures, options)
                _write(result, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=ROOT / "central_storage" / "models" / "elpv-v1")
    parser.add_argument("--dataset", type=Path, default=ROOT / "datasets" / "elpv")
    parser.add_argument("--work", type=Path, default=ROOT / ".onsight" / "benchmarks" / "drift")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="few draws, nothing written")
    parser.add_argument("--windows", type=int, default=2_000, help="quiet windows of each kind at 32 dimensions")
    parser.add_argument("--wide-windows", type=int, default=2_000, help="the same at 128 and 512 dimensions")
    parser.add_argument("--draws", type=int, default=200, help="draws for each cell of the power table")
    options = parser.parse_args()
    if options.quick:
        options.windows, options.wide_windows, options.draws = 50, 10, 10
    return options


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    if not options.quick:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _cost(options: argparse.Namespace) -> dict[str, Any]:
    seconds = cost(rounds=3 if options.quick else 11)
    huge = huge_window(HUGE_ROWS)
    bare = seconds["bare SciPy KS"] + seconds["bare MMD products"]
    print("\n| 1,000 rows against 5,000, 32 dimensions | CPU s, median | of the bare two |\n|---|---|---|", flush=True)
    for name, value in seconds.items():
        print(f"| {name} | {value:.3f} | {value / bare:.2f} |")
    print(
        f"\nA window of {huge['rows']:,} rows: {huge['tested_rows']:,} tested, at most {huge['added_mib']:.0f} MiB "
        f"beside the input, {huge['cpu_s']:.1f} s of CPU.",
        flush=True,
    )
    return {"cpu_s": seconds, "huge_window": huge}


def _false_alarms(pictures: PictureSet, options: argparse.Namespace) -> list[dict[str, Any]]:
    windows = {32: options.windows, **dict.fromkeys(WIDE_DIMS, options.wide_windows)}
    print(f"\n| dims | window | kind | windows | rows tested | alarms | rate | allowed |\n|{'---|' * 8}")
    cells = []
    for cell in false_alarms(pictures, windows):
        print(_quiet_row(cell), flush=True)
        cells.append(asdict(cell))
    return cells


def _quiet_row(cell: QuietCell) -> str:
    return (
        f"| {cell.dims} | {cell.size} | {cell.kind} | {cell.windows} | {cell.tested_rows:.0f} | {cell.alarms} | "
        f"{cell.alarms / cell.windows:.2%} | {cell.allowed} |"
    )


def _power(pictures: PictureSet, options: argparse.Namespace) -> dict[str, Any]:
    checked = check_rivals(pictures)
    print(f"\nalibi-detect's own KSDrift and MMDDrift agree with the fast ones on {checked} pairs of samples.")
    print(f"\n| change | strength | rows | {' | '.join(DETECTORS)} |\n|{'---|' * (3 + len(DETECTORS))}")
    cells = []
    for cell in power(pictures, options.draws, 2 * options.draws):
        print(_power_row(cell), flush=True)
        cells.append(cell)
    print(_comparison(cells), flush=True)
    _add_rivals_together(pictures, cells)
    return {"checked": checked, "cells": [asdict(cell) for cell in cells]}


def _comparison(cells: list[PowerCell]) -> str:
    """The combined verdict beside each of alibi-detect's detectors, over all cells with a change."""
    shares = {name: [cell.detected[name] for cell in cells if cell.change != "none"] for name in DETECTORS}
    ours = shares["combined"]
    lines = [f"\nMean share over {len(ours)} cells with a change: ours {sum(ours) / len(ours):.0%}"]
    for name in RIVALS:
        lead = [our - their for our, their in zip(ours, shares[name], strict=True)]
        ahead, behind = (sum(sign * value > CLEARLY for value in lead) for sign in (1, -1))
        mean = sum(shares[name]) / len(ours)
        lines.append(f"{name}: {mean:.0%}; ours is ahead by over {CLEARLY:.0%} in {ahead}, behind in {behind}")
    return "\n".join(lines)


def _add_rivals_together(pictures: PictureSet, cells: list[PowerCell]) -> None:
    heads = ("change", "strength", "rows", "ours", "best of alibi-detect's four", "all four, 1 % together")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for cell, together in rivals_together(pictures, cells):
        best = max(cell.detected[name] for name in RIVALS)
        shares = " | ".join(f"{share:.1%}" for share in (cell.detected["combined"], best, together))
        print(f"| {cell.change} | {cell.strength} | {cell.size} | {shares} |", flush=True)
        cell.detected["alibi together"] = together


def _power_row(cell: PowerCell) -> str:
    shares = " | ".join(f"{cell.detected[name]:.0%}" for name in DETECTORS)
    return f"| {cell.change} | {cell.strength} | {cell.size} | {shares} |"


if __name__ == "__main__":
    main()
