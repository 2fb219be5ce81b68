"""Third-party errors as one short line that can be shown."""

from __future__ import annotations

import re

__all__ = ["first_line", "without_password"]

_LONGEST = 300
_PASSWORD = re.compile(r"(://[^/:@\s]+):[^/@\s]+@")


def without_password(text: str) -> str:
    """A text with the passwords of its addresses left out."""
    return _PASSWORD.sub(r"\1:***@", text)


def first_line(error: Exception) -> str:
    """What an error says, short enough for a message."""
    return without_password((str(error) or type(error).__name__).splitlines()[0])[:_LONGEST]
