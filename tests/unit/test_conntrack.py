"""Kernels that track connections and do not let one see them; all else is asked of the kernel, in tests/kernel."""

from __future__ import annotations

import errno

import pytest

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.network import conntrack


@pytest.fixture
def refuses(monkeypatch):
    """A kernel that answers each question about its connections with an error."""
    class Socket:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, question):
            asked.append(question.call)
            raise KernelError(question.call, number)

    def begin(error):
        nonlocal number
        number = error
        return asked

    number, asked = 0, []
    monkeypatch.setattr(conntrack, "Socket", Socket)
    monkeypatch.setattr(procfs, "read", lambda _path: "5\n")
    return begin


def test_without_the_module_an_end_is_not_held_up(refuses):
    asked = refuses(errno.EINVAL)
    conntrack.forget("172.17.0.2")
    assert asked == ["IPCTNL_MSG_CT_GET"]


def test_another_error_is_one(refuses):
    refuses(errno.EPERM)
    with pytest.raises(KernelError):
        conntrack.forget("172.17.0.2")
