"""``python -m onsight.datasets``: make data sets from the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from onsight.config import DatasetConfig
from onsight.datasets.checkout import checkout_dataset
from onsight.datasets.demo import DEMO_NOTICE, build_demo
from onsight.datasets.importer import ImportRequest, import_dataset
from onsight.datasets.reviewed import add_reviewed
from onsight.db import open_database, upgrade
from onsight.domain import DatasetVersion
from onsight.errors import OnsightError
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.settings import Settings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, which is the error's (see ``onsight.errors``)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "demo":
            sys.stdout.write(f"{DEMO_NOTICE}\n")
            _report(build_demo(options.ds_root))
        elif options.command == "add-reviewed":
            _add_reviewed(options)
        else:
            _report(import_dataset(_request(options), show_progress=True))
    except OnsightError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m onsight.datasets", description="Make data sets: git + DVC repositories."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the demo data set, from the installed package elpv-dataset")
    load = commands.add_parser("import", help="a folder of class folders, or of images with a table of labels")
    add = commands.add_parser("add-reviewed", help="a version with the images that people labelled in the review queue")
    for command in (demo, load, add):
        command.add_argument("--ds-root", type=Path, default=Path("datasets"), help="folder of the data sets")
    load.add_argument("source", metavar="SRC", type=Path, help="folder that holds one folder of images per class")
    load.add_argument("--name", required=True, help="of the data set; an existing one gets another version")
    load.add_argument(
        "--split",
        nargs=3,
        type=float,
        default=(0.7, 0.15, 0.15),
        metavar="F",
        help="fractions of train, valid and test",
    )
    load.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    load.add_argument("--tag", default="v1.0.0", help="of the version made (default: v1.0.0)")
    load.add_argument("--labels", type=Path, metavar="CSV", help="image_name[,split],one 0/1 column per class")
    load.add_argument("--rename", action="store_true", help="put the class in front of file names that occur twice")
    add.add_argument("--name", required=True, help="of the data set, which exists")
    add.add_argument("--tag", help="of the version made (default: the newest one's, its middle number one higher)")
    add.add_argument("--model", help="take labels of this model alone; needed where those of several wait")
    return parser


def _add_reviewed(options: argparse.Namespace) -> None:
    settings = Settings()
    archive = ImageArchive(settings.image_archive_dir, ArchivePolicy())
    database = open_database(settings.predictions_database_url)
    try:
        upgrade(database)
        tag = add_reviewed(
            database, archive, options.ds_root, options.name, tag=options.tag, model_name=options.model
        )
    finally:
        database.close()
    if tag is None:
        sys.stdout.write("nothing new: no labelled image waits that the data set could take in\n")
    else:
        _report(checkout_dataset(DatasetConfig(ds_root=options.ds_root, ds_name=options.name, dvc_tag=tag)))


def _request(options: argparse.Namespace) -> ImportRequest:
    return ImportRequest(
        source=options.source,
        name=options.name,
        ds_root=options.ds_root,
        split=tuple(options.split),
        seed=options.seed,
        tag=options.tag,
        labels=options.labels,
        rename=options.rename,
    )


def _report(dataset: DatasetVersion) -> None:
    lines = [f"{dataset.name} {dataset.tag} ({dataset.revision[:10]}) in {dataset.root}"]
    for split in dataset.splits:
        counts = ", ".join(f"{name} {count}" for name, count in dataset.class_counts(split).items())
        lines.append(f"  {split:<5} {len(dataset.splits[split]):>6} images: {counts}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
