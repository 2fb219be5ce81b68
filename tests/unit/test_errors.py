"""The error tree keeps its facts, survives pickling, and has an exit code per branch."""

from __future__ import annotations

import pickle

import pytest

from onsight import errors
from onsight.errors import OnsightError


def leaves(kind: type[OnsightError]) -> list[type[OnsightError]]:
    """The tree of the library itself: services add branches of their own, and test them themselves."""
    below = [branch for branch in kind.__subclasses__() if branch.__module__ == errors.__name__]
    return [kind, *(leaf for branch in below for leaf in leaves(branch))]


@pytest.mark.parametrize("kind", leaves(OnsightError), ids=lambda kind: kind.__name__)
def test_error_when_pickled_then_keeps_message_hint_and_context(kind: type[OnsightError]) -> None:
    error = pickle.loads(pickle.dumps(kind("it broke", "mend it", path="a.png", n=3)))
    assert type(error) is kind
    assert (error.message, error.hint, error.context) == ("it broke", "mend it", {"path": "a.png", "n": 3})


@pytest.mark.parametrize("kind", leaves(OnsightError), ids=lambda kind: kind.__name__)
def test_error_when_defined_then_is_exported_and_documented(kind: type[OnsightError]) -> None:
    assert kind.__name__ in errors.__all__
    assert errors.__doc__ is not None
    row = next(line for line in errors.__doc__.splitlines() if line.split()[:1] == [kind.__name__])
    assert int(row.split()[1]) == kind.exit_code


def test_error_when_printed_then_says_what_to_do_next() -> None:
    assert str(OnsightError("it broke", "mend it")) == "it broke\n  -> mend it"
    assert str(OnsightError("it broke")) == "it broke"


def test_exit_codes_of_the_main_branches_differ() -> None:
    codes = [kind.exit_code for kind in OnsightError.__subclasses__() if kind in leaves(OnsightError)]
    assert len(set(codes)) == len(codes)
