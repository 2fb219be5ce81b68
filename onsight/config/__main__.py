"""Generate docs/config.md and the JSON Schema for editors from the config classes: they cannot go stale unseen.

Usage: python -m onsight.config docs/config.md configs/schema.json [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from onsight.config.flow import FlowConfig

_INTRO = """# Config reference

Made by `make docs` from the classes in `onsight/config/`; `make check` fails when it is stale. Unknown keys are
refused.
Any key can be changed on the command line: `--set train.hparams.epochs=1`.

`flow_module` selects the flow:

"""


def main() -> int:
    """Write both files, or with ``--check`` say which of them is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("reference", type=Path)
    parser.add_argument("schema", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    arguments = parser.parse_args()
    schema = TypeAdapter(FlowConfig).json_schema()
    wanted = {
        arguments.reference: reference_page(schema),
        arguments.schema: json.dumps(schema, indent=2) + "\n",
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if arguments.check:
            print(f"error: {path} is stale\n  -> run `make docs` and commit it", file=sys.stderr)
        else:
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path}")
    return int(bool(stale) and arguments.check)


def reference_page(schema: dict[str, Any]) -> str:
    """The Markdown page for a JSON Schema of the flow configs."""
    sections = schema["$defs"]
    flows = {name: body for name, body in sections.items() if name.endswith("FlowConfig")}
    lines = [_INTRO]
    for body in flows.values():
        module = body["properties"]["flow_module"]["const"]
        keys = ", ".join(f"`{key}`" for key in body["properties"] if key != "flow_module")
        lines.append(f"- `{module}`: {body['description']} Sections: {keys}.\n")
    for name, body in sections.items():
        if name not in flows and "properties" in body:
            lines.append(f"\n## {name}\n\n{body.get('description', '')}\n\n")
            lines.append("| key | type | default | meaning |\n|---|---|---|---|\n")
            lines.extend(_rows(body))
    return "".join(lines)


def _rows(body: dict[str, Any]) -> Iterator[str]:
    required = body.get("required", ())
    for key, entry in body["properties"].items():
        default = "required" if key in required else f"`{_plain(entry.get('default'))}`"
        meaning = entry.get("description", "")
        yield f"| `{key}` | {_kind(entry)} | {default} | {meaning} |\n"


def _plain(value: object) -> str:
    text = json.dumps(value)
    longest = 60
    return text if len(text) <= longest else "see its section"


def _kind(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        name = entry["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if "anyOf" in entry:
        return " or ".join(_kind(option) for option in entry["anyOf"])
    if entry.get("type") == "array" and isinstance(entry.get("items"), dict):
        return f"list of {_kind(entry['items'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {entry[key]:g}" for key, sign in bounds.items() if key in entry)
    return str(entry.get("type", "any")) + (f" ({limits})" if limits else "")


if __name__ == "__main__":
    sys.exit(main())
