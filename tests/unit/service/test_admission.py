"""How many requests, and how many bytes of them, are let in at once."""

from __future__ import annotations

import pytest

from services.dl_service.errors import OverloadedError
from services.dl_service.state import Admission
from services.dl_service.uploads import expected_bytes


def test_enter_beyond_the_number_of_requests_is_refused_until_one_leaves() -> None:
    admission = Admission(limit=1, max_bytes=100)
    with admission.enter(1), pytest.raises(OverloadedError, match="1 requests"), admission.enter(1):
        pass
    with admission.enter(1):
        assert admission.in_flight == 1


def test_enter_beyond_the_bytes_is_refused_until_they_are_gone() -> None:
    admission = Admission(limit=10, max_bytes=100)
    with admission.enter(60):
        with pytest.raises(OverloadedError, match="60 bytes"), admission.enter(41):
            pass
        with admission.enter(40):
            assert admission.in_flight == 2
    with admission.enter(100):
        pass


def test_enter_of_a_body_over_the_limit_is_let_in_alone() -> None:
    admission = Admission(limit=10, max_bytes=100)
    with admission.enter(1000):
        assert admission.in_flight == 1


@pytest.mark.parametrize(("declared", "expected"), [(b"7", 7), (b"500", 100), (b"", 100), (b"-3", 100), (b"many", 100)])
def test_expected_bytes(declared: bytes, expected: int) -> None:
    assert expected_bytes({"headers": [(b"content-length", declared)]}, 100) == expected


def test_expected_bytes_of_a_body_without_length_is_the_limit() -> None:
    assert expected_bytes({"headers": []}, 100) == 100
