"""What is decoded at once has a bound, for large images."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from PIL import Image

from onsight.images import DecodingRoom, ImageLimits, decode_image, decode_reduced, read_image
from tests.servers.pictures import encode

LARGE = 6_000_000


class Holder:
    """A thread that keeps a place until it is told to leave."""

    def __init__(self, room: DecodingRoom, n_pixels: int) -> None:
        self.is_in, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(room, n_pixels))
        self._thread.start()

    def leave(self) -> None:
        self._leave.set()
        self._thread.join()

    def _run(self, room: DecodingRoom, n_pixels: int) -> None:
        with room.hold(n_pixels):
            self.is_in.set()
            self._leave.wait(30)


def test_hold_lets_in_what_fits_together_and_the_next_when_one_has_left() -> None:
    room = DecodingRoom(2 * LARGE)
    holders = [Holder(room, LARGE) for _ in range(3)]

    while sum(holder.is_in.is_set() for holder in holders) < 2:
        pass
    assert not all(holder.is_in.wait(0.05) for holder in holders)
    first = next(holder for holder in holders if holder.is_in.is_set())
    first.leave()

    assert all(holder.is_in.wait(30) for holder in holders)
    for holder in holders:
        holder.leave()


def test_hold_of_more_than_the_room_has_is_let_in_alone() -> None:
    room = DecodingRoom(LARGE)
    huge = Holder(room, 9 * LARGE)
    assert huge.is_in.wait(30)

    other = Holder(room, LARGE)

    assert not other.is_in.wait(0.05)
    huge.leave()
    assert other.is_in.wait(30)
    other.leave()


def test_hold_of_a_small_image_never_waits() -> None:
    room = DecodingRoom(1)
    with room.hold(LARGE), room.hold(1_000_000):
        pass


def test_hold_that_ends_with_an_error_gives_its_place_back() -> None:
    room = DecodingRoom(LARGE)
    with pytest.raises(ValueError, match="x"), room.hold(LARGE):
        raise ValueError("x")
    with room.hold(LARGE):
        pass


PNG = encode(Image.new("L", (3000, 2000)), "PNG")
JPEG = encode(Image.new("L", (3000, 2000)), "JPEG")


@pytest.mark.parametrize(
    ("read", "content", "waits"),
    [
        pytest.param(decode_image, PNG, True, id="decode"),
        pytest.param(lambda content, limits: read_image(content, 32, 32, limits), PNG, True, id="read"),
        pytest.param(lambda content, limits: decode_reduced(content, 100, limits), PNG, True, id="reduced"),
        pytest.param(decode_image, JPEG, True, id="whole JPEG"),
        pytest.param(
            lambda content, limits: read_image(content, 32, 32, limits), JPEG, False, id="small scale of JPEG"
        ),
        pytest.param(lambda content, limits: read_image(content, 1900, 1300, limits), JPEG, True, id="full JPEG"),
    ],
)
def test_large_image_is_decoded_when_there_is_room(
    read: Callable[[bytes, ImageLimits], object], content: bytes, *, waits: bool
) -> None:
    room = DecodingRoom(LARGE)
    other = Holder(room, LARGE)
    assert other.is_in.wait(30)
    is_done = threading.Event()

    def work() -> None:
        read(content, ImageLimits(room=room))
        is_done.set()

    thread = threading.Thread(target=work)
    thread.start()

    assert is_done.wait(0.3 if waits else 30) is not waits
    other.leave()
    thread.join()
    assert is_done.is_set()
