"""Writes what is in container images, one CycloneDX file each: Python's packages and Debian's, as the images tell it.

Usage: python services/sbom.py FOLDER IMAGE... It needs Docker and nothing but the standard library, so that it runs
wherever the stack does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Run inside the image, without a network; a part whose program is not there stays empty.
_ASK = r"""
dpkg-query --show --showformat 'deb\t${binary:Package}\t${Version}\t${Architecture}\n' 2>/dev/null
apk list --installed 2>/dev/null | sed -nE 's/^(.+)-([0-9][^ ]*) ([^ ]+) .*/apk\t\1\t\2\t\3/p'
command -v python >/dev/null && python - <<'END'
from importlib.metadata import distributions
for one in distributions():
    licence = one.metadata.get("License-Expression") or one.metadata.get("License") or ""
    print("pypi", one.metadata["Name"], one.version, licence.split("\n")[0][:100], sep="\t")
END
true
"""


def main(arguments: list[str]) -> int:
    """Writes the files; answers the exit code."""
    if not arguments[1:]:
        print("usage: python services/sbom.py FOLDER IMAGE...", file=sys.stderr)
        return 2
    folder, images = Path(arguments[0]), arguments[1:]
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        try:
            bom = describe(image)
        except subprocess.CalledProcessError as error:
            print(f"error: {image} cannot be asked: {error.stderr.strip()}\n  -> make build", file=sys.stderr)
            return 1
        path = folder / f"{image.rpartition('/')[2].partition(':')[0]}.cdx.json"
        path.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
        print(f"{path}: {len(bom['components'])} components")
    return 0


def describe(image: str) -> dict[str, Any]:
    """The bill of materials of an image, CycloneDX 1.5.

    Raises:
        CalledProcessError: Docker does not answer, or does not know the image.
    """
    run = ("docker", "run", "--rm", "--network=none", "--user=65534:65534", "--entrypoint=sh", image, "-c", _ASK)
    lines = set(_output(*run).splitlines())
    name, _, tag = image.partition(":")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": name,
                "version": tag,
                "properties": [
                    {"name": "docker:image-id", "value": _output("docker", "inspect", "-f", "{{.Id}}", image).strip()}
                ],
            },
        },
        "components": sorted((_component(line) for line in lines), key=lambda one: str(one["bom-ref"])),
    }


def _component(line: str) -> dict[str, Any]:
    kind, name, version, more = line.split("\t", 3)
    place = {"deb": "deb/debian/", "apk": "apk/alpine/", "pypi": "pypi/"}[kind]
    purl_name = name.lower().replace("_", "-") if kind == "pypi" else name.partition(":")[0]
    purl = f"pkg:{place}{quote(purl_name)}@{quote(version)}" + ("" if kind == "pypi" else f"?arch={more}")
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if kind == "pypi" and more:
        component |= {"licenses": [{"license": {"name": more}}]}
    return component


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
