"""The relay's services: work that a monitor does beside the relay, and takes along to its rest."""

from __future__ import annotations

import os
import select
import time

import pytest

from minirun.engine.container.container import Container
from minirun.engine.daemon import Daemon
from minirun.engine.shim import reexec, run_state
from minirun.engine.shim.relay import Relay
from minirun.engine.shim.stdio import Stdio


class Bell:
    """A service: counts the bytes that come through a pipe, and how often its time had come."""

    def __init__(self, fd: int) -> None:
        self.bell, self.rung, self.waited = fd, 0, 0
        self.epoll = select.epoll()
        self.epoll.register(fd, select.EPOLLIN)
        self.fd = self.epoll.fileno()
        self.deadline: float | None = None
        self.busy = False

    def serve(self) -> None:
        for fd, _ in self.epoll.poll(0):
            self.rung += len(os.read(fd, 1))
        if self.deadline is not None and self.deadline <= time.monotonic():
            self.deadline, self.waited = None, self.waited + 1

    def idle(self) -> bool:
        return not self.busy

    def descriptors(self) -> list[int]:
        return [self.bell]

    def restore_args(self) -> list[str]:
        return [str(self.bell), "and more"]


def restore(args: list[str]) -> Bell:
    assert args[1] == "and more"
    return Bell(int(args[0]))


@pytest.fixture
def bell():
    read, write = os.pipe()
    service = Bell(read)
    service.write = write
    yield service
    os.close(read)
    os.close(write)


def child(work) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def relay_of(*services, reexec=None) -> Relay:
    relay = Relay(Stdio.from_fds(-1, -1, -1, -1), None, reexec=reexec)
    relay.services += services
    return relay


def test_a_service_is_served_while_the_process_runs(bell):
    def ring() -> None:
        for _ in range(3):
            os.write(bell.write, b"!")
        time.sleep(0.3)

    assert relay_of(bell).run(child(ring)) == 0
    assert bell.rung == 3


@pytest.mark.timing("a deadline of 0.1 s must come before an end after 0.4 s")
def test_a_service_is_called_when_its_time_has_come(bell):
    bell.deadline = time.monotonic() + 0.1
    relay_of(bell).run(child(lambda: time.sleep(0.4)))
    assert (bell.waited, bell.rung) == (1, 0)


@pytest.mark.timing("a deadline of 1.5 s must come before an end after 2 s")
def test_what_is_busy_keeps_the_monitor_from_its_rest(bell):
    rested = []
    bell.busy = True
    relay = relay_of(bell, reexec=lambda relay: rested.append(bell.busy))
    bell.deadline = time.monotonic() + 1.5
    quiet = bell.serve
    bell.serve = lambda: (quiet(), setattr(bell, "busy", False))
    relay.run(child(lambda: time.sleep(2)))
    assert rested
    assert not any(rested)


def test_a_service_goes_through_an_exec(bell, monkeypatch):
    """What `reexec` passes to the fresh interpreter is what `resume` makes services of."""
    passed: list[str] = []

    def execv(_path, argv):
        passed.extend(argv)
        assert os.get_inheritable(bell.bell)
        raise OSError  # then this process waits as it is

    monkeypatch.setattr(reexec.os, "execv", execv)
    relay = relay_of(bell)
    relay.pid = 4711
    reexec.reexec(Container(Daemon("/DATA", "/RUN"), "0" * 64), relay)
    assert not os.get_inheritable(bell.bell)
    module, _, words = passed[-1].partition("=")
    monkeypatch.setitem(reexec.sys.modules, module, reexec.sys.modules[__name__])
    again = reexec._restore_service(module, words.split(","))
    assert again.bell == bell.bell
    assert again is not bell


@pytest.mark.timing("a deadline of 0.05 s must come before an end after 0.5 s")
def test_a_service_that_fails_is_taken_out_and_the_rest_goes_on(bell, tmp_path):
    class Broken:
        deadline = time.monotonic() + 0.05
        stopped = False

        def __init__(self) -> None:
            self.fd = os.eventfd(0)

        def serve(self) -> None:
            raise KeyError("what a stranger sent")

        def idle(self) -> bool:
            return True

        def stop(self) -> None:
            self.stopped = True
            os.close(self.fd)

    broken = Broken()
    relay = relay_of(broken, bell)
    relay.service_failed = lambda service, error: run_state.record_failure(str(tmp_path), service, error)

    def ring() -> None:
        time.sleep(0.3)
        os.write(bell.write, b"!")
        time.sleep(0.2)
        os._exit(7)

    assert relay.run(child(ring)) == 7
    assert (relay.services, broken.stopped, bell.rung) == ([bell], True, 1)
    (line,) = run_state.read_failures(str(tmp_path))
    assert line.startswith("Broken: KeyError: 'what a stranger sent' (test_relay.py:")
