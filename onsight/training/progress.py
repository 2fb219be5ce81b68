"""Progress within an epoch, on one line of a terminal that is rewritten."""

from __future__ import annotations

import time
from typing import TextIO

import keras

__all__ = ["StepLine"]

_EVERY_S = 0.5
_CLEAR_LINE = "\r\033[K"


class StepLine(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Shows the step that training is at, and removes the line when the epoch ends.

    Args:
        stream: A terminal; anything else gets nothing.
        title: What stands before the step.
        steps: Of the epoch.
    """

    def __init__(self, stream: TextIO, title: str, steps: int) -> None:
        super().__init__()
        self._stream, self._title, self._steps = stream, title, steps
        self._shown_at = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Rewrite the line, if the last time was long enough ago."""
        if not self._stream.isatty() or time.monotonic() - self._shown_at < _EVERY_S:
            return
        self._shown_at = time.monotonic()
        values = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
        self._stream.write(f"{_CLEAR_LINE}{self._title}  step {batch + 1}/{self._steps}  {values}")
        self._stream.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Remove the line."""
        if self._shown_at:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()
