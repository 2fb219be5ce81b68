"""What a run of retention removed or would remove, in numbers and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["RetentionReport", "Share", "as_markdown"]

_UNIT = 1024


@dataclass(frozen=True)
class Share:
    """What went, or would go, of one kind.

    Attributes:
        kind: Such as ``bundles``, or the name of a table.
        count: How many.
        size_bytes: Freed; None where it is not known (the database frees the space of rows by itself).
        names: Of what went; none for rows.
        kept: What stays although it is old, with the reason.
    """

    kind: str
    count: int
    size_bytes: int | None = None
    names: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        size = "" if self.size_bytes is None else f", {_shown(self.size_bytes)}"
        return f"{self.kind}: {self.count}{size}"


@dataclass(frozen=True)
class RetentionReport:
    """A whole run.

    Attributes:
        is_applied: Whether it went; otherwise it would go.
        n_kept_images: On the list of images that no clean-up removes.
    """

    is_applied: bool
    shares: tuple[Share, ...]
    n_kept_images: int


def as_markdown(report: RetentionReport) -> str:
    """The report as a page for Prefect."""
    lines = [
        "# Removed" if report.is_applied else "# Would be removed (`apply: false`: nothing was)",
        "",
        "| what | count | size |",
        "|---|---|---|",
        *(
            f"| {share.kind} | {share.count} | {'' if share.size_bytes is None else _shown(share.size_bytes)} |"
            for share in report.shares
        ),
        "",
        f"{report.n_kept_images} images are kept whatever their age: labelled, to be reviewed, or an alert's evidence.",
    ]
    for share in report.shares:
        if share.names:
            lines += ["", f"## {share.kind}", "", *(f"- {name}" for name in share.names)]
        if share.kept:
            lines += ["", f"## {share.kind}: kept", "", *(f"- {name}: {why}" for name, why in share.kept.items())]
    return "\n".join(lines) + "\n"


def _shown(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < _UNIT:
            return f"{size:.4g} {unit}"
        size /= _UNIT
    return f"{size:.4g} GiB"
