"""The line that shows the step of an epoch."""

from __future__ import annotations

import io

import pytest

from onsight.training.progress import StepLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Terminal(), "\r\033[Kepoch 2/5  step 1/40  loss 0.5000\r\033[K"),
        (io.StringIO(), ""),
    ],
    ids=["terminal", "file"],
)
def test_step_line_when_steps_end_then_only_a_terminal_shows_it(stream: io.StringIO, expected: str) -> None:
    line = StepLine(stream, "epoch 2/5", 40)
    line.on_train_batch_end(0, {"loss": 0.5})
    line.on_train_batch_end(1, {"loss": 0.4})  # too soon after the first to be shown
    line.on_train_end()
    assert stream.getvalue() == expected
