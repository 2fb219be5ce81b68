"""The one reader of configs: YAML or JSON plus `--set` changes in, a typed config or every problem at once out."""

from __future__ import annotations

import difflib
import inspect
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from onsight.config.flow import FlowConfig
from onsight.errors import ConfigError

__all__ = ["read_config"]

_ADAPTER: TypeAdapter[FlowConfig] = TypeAdapter(FlowConfig)
_FLOWS: dict[str, type[BaseModel]] = {
    model.model_fields["flow_module"].annotation.__args__[0]: model
    for model in typing.get_args(typing.get_args(FlowConfig)[0])
}


def read_config(path: Path, changes: Sequence[str] = ()) -> FlowConfig:
    """Read a flow's config.

    Args:
        path: A ``.yaml``, ``.yml`` or ``.json`` file.
        changes: ``key.path=value`` each; the value is read as YAML.

    Raises:
        ConfigError: With every problem found, each with its key's path.
    """
    raw = _load(path)
    problems = [problem for change in changes if (problem := _apply(raw, change))]
    if problems:
        raise _error(path, problems)
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise _error(path, [_describe(item, raw) for item in error.errors()]) from None


def _error(path: Path, problems: list[str]) -> ConfigError:
    count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ConfigError(
        f"{path}: {count} in the config{lines}",
        hint="every key is described in docs/config.md; nothing was read or written",
        problems=problems,
    )


def _load(path: Path) -> dict[str, object]:
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise ConfigError(f"{path}: a config is a .yaml, .yml or .json file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="the configs that come with Onsight are in configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        raw = json.loads(text) if path.suffix == ".json" else yaml.load(text, _UniqueKeyLoader)  # noqa: S506
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values")
    return raw


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, but a key that stands twice is an error: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[typing.Hashable, object]:  # noqa: FBT001, FBT002
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, (str, int)) else id(key_node))
        return super().construct_mapping(node, deep)


def _apply(raw: dict[str, object], change: str) -> str | None:
    """Put one ``key.path=value`` into the raw config; the problem as text if that cannot be done."""
    key_path, equals, text = change.partition("=")
    keys = key_path.strip().split(".")
    if not equals or not all(keys):
        return f"--set {change}: write it as key.path=value"
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"--set {key_path}: the value {text!r} is no valid YAML"
    section = raw
    for key in keys[:-1]:
        below = section.setdefault(key, {})
        if not isinstance(below, dict):
            return f"--set {key_path}: {key} holds a value, not a section"
        section = below
    section[keys[-1]] = value
    return None


def _describe(item: Mapping[str, typing.Any], raw: dict[str, object]) -> str:
    """One line for one of pydantic's errors: the key's path, what is wrong, and the nearest right key."""
    flow = str(raw.get("flow_module"))
    location = item["loc"][1:] if flow in _FLOWS else item["loc"]
    # Union branches add names of types to the path; a key or an index of the raw config is never dropped.
    path = ".".join(str(part) for part in _keys_of(location, raw)) or "flow_module"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"flow_module: must be one of {', '.join(sorted(_FLOWS))}"
    if item["type"] == "missing":
        return f"{path}: is missing"
    if item["type"] == "extra_forbidden":
        known = _known_keys(_FLOWS[flow], location[:-1])
        nearest = difflib.get_close_matches(str(location[-1]), known, n=1)
        return f"{path}: unknown key" + (f", did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(known)}")
    given = "" if isinstance(item["input"], (dict, list)) else f" (given: {item['input']!r})"
    return f"{path}: {message}{given}"


def _keys_of(location: Sequence[str | int], raw: object) -> list[str | int]:
    keys: list[str | int] = []
    for part in location:
        if isinstance(raw, dict) and (part in raw or part == location[-1]):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int):
            raw = raw[part]
        else:
            break
        keys.append(part)
    return keys


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys allowed at a place below ``model``."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is not None:
            found = _section_in(field.annotation)
            if found is not None:
                model = found
    return sorted(model.model_fields)


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The first config section that a field's annotation names, or None."""
    if inspect.isclass(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for inner in typing.get_args(annotation) if (found := _section_in(inner))), None)
