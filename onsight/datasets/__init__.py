"""Data sets: git + DVC repositories of images and labels; imported, versioned, checked out and read here."""

from onsight.datasets.annotations import read_annotations
from onsight.datasets.checkout import checkout_dataset
from onsight.datasets.demo import DEMO_NAME, build_demo
from onsight.datasets.importer import ImportRequest, import_dataset
from onsight.datasets.reviewed import add_reviewed, reviewed_names

__all__ = [
    "DEMO_NAME",
    "ImportRequest",
    "add_reviewed",
    "build_demo",
    "checkout_dataset",
    "import_dataset",
    "read_annotations",
    "reviewed_names",
]
