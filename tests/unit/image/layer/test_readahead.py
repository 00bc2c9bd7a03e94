"""Reading ahead: the same bytes and errors in the same order, bounded, and over when it is closed."""

from __future__ import annotations

import io
import threading
import time

import pytest

from harness.host import wait_for
from minirun.image.layer.readahead import BUFFERS, SIZE, ReadAhead


class Source(io.RawIOBase):
    """Gives `count` pieces, each full of its number; then nothing, or an error. `.given`, how many it has given."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error, self.given = count, error, 0

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if self.given == self.count:
            if self.error:
                raise self.error
            return 0
        buffer[:] = bytes([self.given % 251]) * len(buffer)
        self.given += 1
        return len(buffer)


def test_the_bytes_come_in_their_order() -> None:
    with ReadAhead(Source(100)) as ahead:
        data = io.BufferedReader(ahead, 1000).read()
        assert data == b"".join(bytes([number]) * SIZE for number in range(100))
        assert ahead.read(1) == b""


def test_an_error_comes_after_what_came_before_it() -> None:
    with ReadAhead(Source(3, EOFError("cut short"))) as ahead:
        for _ in range(3 * 4):
            assert ahead.readinto(memoryview(bytearray(SIZE // 4))) == SIZE // 4
        with pytest.raises(EOFError, match="cut short"):
            ahead.read(1)
        assert ahead.read(1) == b""  # and does not wait for more


def test_it_goes_no_further_than_its_buffers() -> None:
    source = Source(1000)
    with ReadAhead(source) as ahead:
        assert wait_for(lambda: source.given == BUFFERS)
        time.sleep(0.05)
        assert source.given == BUFFERS
        ahead.readinto(memoryview(bytearray(SIZE)))
        ahead.readinto(memoryview(bytearray(SIZE)))
        assert wait_for(lambda: source.given == BUFFERS + 1)


@pytest.mark.parametrize("read", [0, 1, 5])
def test_who_has_read_enough_closes_it(read: int) -> None:
    threads = threading.active_count()
    source = Source(10**9)
    ahead = ReadAhead(source)
    ahead.read(read * SIZE)
    ahead.close()
    assert threading.active_count() == threads
    given = source.given
    time.sleep(0.02)
    assert source.given == given
