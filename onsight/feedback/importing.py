"""Labels from a CSV file: all of its lines are kept, or none is and every problem is named with its line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from onsight.bundle import metadata_key, read_metadata
from onsight.db import Database, Opinion, find_versions, insert_opinions, is_prediction_id, new_opinion
from onsight.domain import BundleMetadata
from onsight.errors import DatasetError
from onsight.storage import ArtifactStore

__all__ = ["COLUMNS", "LABEL_SEPARATOR", "ImportReport", "import_opinions"]

COLUMNS = ("prediction_id", "label", "who", "when")
LABEL_SEPARATOR = "|"
_MOST_LINES = 1_000_000
_MOST_SHOWN = 200
_HINT = f"columns {','.join(COLUMNS)}; when as 2026-03-01T12:00:00Z; nothing was imported: mend the file and try again"


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        n_lines: Opinions in the file.
        n_new: Of them, those that were not known already.
    """

    n_lines: int
    n_new: int


@dataclass(frozen=True)
class _Line:
    number: int
    prediction_id: str
    label: str
    who: str
    when: str


@dataclass
class _Problems:
    """What is wrong, by line."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, problem: str) -> None:
        self.found.append((line, problem))

    def raise_if_any(self, path: Path) -> None:
        if not self.found:
            return
        lines = [f"  line {number}: {problem}" for number, problem in sorted(self.found)]
        if len(lines) > _MOST_SHOWN:
            lines[_MOST_SHOWN:] = [f"  and {len(lines) - _MOST_SHOWN} more"]
        raise DatasetError("\n".join([f"{len(self.found)} problems in {path}:", *lines]), _HINT)


def import_opinions(path: Path, database: Database, store: ArtifactStore) -> ImportReport:
    """Keeps the opinions of a CSV file: columns prediction_id, label, who and when, in any order.

    Several classes of a multi-label image are separated by ``|``; an empty label says that it has none. A file that is
    imported twice leaves what it left the first time.

    Raises:
        DatasetError: The file cannot be read, or lines are wrong; nothing was written.
        StorageError: Central storage does not answer; nothing was written.
        DependencyError: The database does not answer; nothing was written.
    """
    problems = _Problems()
    lines = list(_read(path, problems))
    ids = {line.prediction_id for line in lines if is_prediction_id(line.prediction_id)}
    versions = find_versions(database, sorted(ids))
    metadata = {version: _metadata(store, *version) for version in set(versions.values())}
    opinions = []
    for line in lines:
        version = versions.get(line.prediction_id)
        opinion = _opinion(line, metadata[version] if version else None, problems.add, is_known=version is not None)
        if opinion is not None:
            opinions.append((line.number, opinion))
    _find_contradictions(opinions, problems)
    problems.raise_if_any(path)
    return ImportReport(len(opinions), insert_opinions(database, [opinion for _, opinion in opinions]))


def _read(path: Path, problems: _Problems) -> Iterator[_Line]:
    """The lines that have every column, numbered as an editor does."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if sorted(header) != sorted(COLUMNS):
                raise DatasetError(f"{path} has the columns {', '.join(header)[:200] or 'of an empty file'}", _HINT)
            number = reader.line_num + 1
            for values in reader:
                if values and len(values) != len(COLUMNS):
                    problems.add(number, f"{len(values)} values instead of {len(COLUMNS)}")
                elif values:
                    named = dict(zip(header, (value.strip() for value in values), strict=True))
                    yield _Line(number, **{**named, "prediction_id": named["prediction_id"].lower()})
                if number > _MOST_LINES:
                    raise DatasetError(f"{path} has more than {_MOST_LINES} lines", "import it in parts")
                number = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}", _HINT) from error


def _metadata(store: ArtifactStore, model_name: str, model_version: int) -> BundleMetadata | None:
    name = f"{model_name}-v{model_version}"
    return read_metadata(store, name) if store.exists(metadata_key(name)) else None


def _opinion(
    line: _Line, metadata: BundleMetadata | None, add: Callable[[int, str], None], *, is_known: bool
) -> Opinion | None:
    """The line's opinion, or None after its problems were noted."""
    labels = _labels(line.label, metadata.classes if metadata else ())
    found = list(_problems(line.prediction_id, labels, metadata, is_known=is_known))
    opinion = None
    try:
        opinion = new_opinion(line.prediction_id, labels, line.who, _time(line.when, found), "import")
    except ValueError as error:
        found.append(str(error))
    for problem in found:
        add(line.number, problem)
    return None if found else opinion


def _time(text: str, found: list[str]) -> datetime:
    """The time, or a sound one after the problem was noted, so that the line's other problems are found too."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        found.append(f"{text[:100]!r} is no time")
        return datetime(2000, 1, 1, tzinfo=UTC)


def _labels(text: str, classes: Sequence[str]) -> set[str]:
    # A class may have the separator in its name.
    return {text} if text in classes else {name.strip() for name in text.split(LABEL_SEPARATOR) if name.strip()}


def _problems(
    prediction_id: str, labels: set[str], metadata: BundleMetadata | None, *, is_known: bool
) -> Iterator[str]:
    if not is_prediction_id(prediction_id):
        yield f"{prediction_id[:100]!r} is no prediction_id"
    elif not is_known:
        yield f"there is no prediction {prediction_id}"
    elif metadata is None:
        yield "the version that answered is no longer in storage: its classes are not known"
    else:
        if unknown := sorted(labels - set(metadata.classes)):
            yield f"{metadata.bundle_name} has no class {', '.join(unknown)[:200]}"
        if metadata.classifier_type == "multi-class" and len(labels) != 1:
            yield f"{metadata.bundle_name} gives an image one class, not {len(labels)}"


def _find_contradictions(opinions: list[tuple[int, Opinion]], problems: _Problems) -> None:
    """One person cannot have said two things of one prediction at the same moment."""
    first: dict[tuple[str, str, datetime], tuple[int, Opinion]] = {}
    for number, opinion in opinions:
        key = (opinion.prediction_id, opinion.labelled_by, opinion.labelled_at)
        earlier, said = first.setdefault(key, (number, opinion))
        if said.labels != opinion.labels:
            problems.add(number, f"contradicts line {earlier}: same prediction, person and time, another label")
