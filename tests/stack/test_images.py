"""What our own images hold: no TensorFlow where it does not belong, a bounded size, and a bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.stack import Stack

_MAX_SERVICE_BYTES = 450_000_000
# A package for every machine: one with a marker may rightly be missing.
_PINNED = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.+!-]+) \\$")


@pytest.fixture(scope="module")
def boms(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bill of materials of each image, by its name."""
    folder = tmp_path_factory.mktemp("sbom")
    command = [sys.executable, "services/sbom.py", str(folder), *images(stack)]
    done = subprocess.run(command, cwd=stack.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name.removesuffix(".cdx.json"): json.loads(path.read_text()) for path in folder.iterdir()}


def images(stack: Stack) -> list[str]:
    """Our own."""
    return sorted(set(re.findall(r"^ *image: (onsight/\S+)$", stack.compose("config"), re.MULTILINE)))


def _same(purl: str) -> str:
    """With the name as package indexes compare them: a dot is a dash to them, and a dot in a package URL."""
    name, _, version = purl.partition("@")
    return f"{name.replace('.', '-')}@{version}"


def test_every_image_of_ours_has_a_bill_with_what_its_requirements_pin(boms: dict[str, Any], repository: Path) -> None:
    pinned = {"dl_service": "serve", "mlflow": "mlflow-server", "prefect": "prefect-server", "training": "train"}
    for image, requirements in pinned.items():
        lines = (repository / "requirements" / f"{requirements}.txt").read_text().splitlines()
        wanted = {_same(f"pkg:pypi/{name}@{version}") for line in lines for name, version in _PINNED.findall(line)}
        held = {_same(component["purl"]) for component in boms[image]["components"]}
        assert len(wanted) > 20
        assert wanted - held == set(), image
    assert set(boms) == {"alertmanager", "nginx", "postgres", *pinned}


def test_a_bill_is_cyclonedx_and_names_each_component_once(boms: dict[str, Any]) -> None:
    for name, bom in boms.items():
        references = [component["bom-ref"] for component in bom["components"]]
        assert (bom["bomFormat"], bom["specVersion"], bom["metadata"]["component"]["name"]) == (
            "CycloneDX",
            "1.5",
            f"onsight/{name}",
        )
        assert len(references) == len(set(references)), name


def test_the_service_holds_no_tensorflow_and_stays_small(stack: Stack, boms: dict[str, Any]) -> None:
    names = {component["name"].lower() for component in boms["dl_service"]["components"]}
    assert not names & {"tensorflow", "tensorflow-cpu", "keras", "torch", "prefect", "mlflow"}
    image = next(image for image in images(stack) if image.startswith("onsight/dl_service:"))
    inspect = ["docker", "image", "inspect", "-f", "{{.Size}}", image]
    assert int(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout) < _MAX_SERVICE_BYTES
