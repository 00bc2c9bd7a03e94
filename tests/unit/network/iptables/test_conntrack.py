"""Kernels that track connections and do not let one see them; all else is asked of the kernel, in tests/kernel."""

from __future__ import annotations

import errno

import pytest

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.network.bridge import veth
from minirun.network.iptables import conntrack


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
    conntrack.delete_entries("172.17.0.2")
    assert asked == ["IPCTNL_MSG_CT_GET"]


def test_another_error_is_one(refuses):
    refuses(errno.EPERM)
    with pytest.raises(KernelError):
        conntrack.delete_entries("172.17.0.2")


@pytest.mark.parametrize(
    ("received", "other_end", "sent", "spoken"),
    [
        ("3", "7", "0", True),
        ("0", "7", "2", False),  # noise of others went in, nothing came out
        ("0", "0", "2", True),
        ("0", "0", "0", False),  # the other end, which has counted what came out, is gone already
        (None, None, None, True),
    ],
)
def test_whether_a_container_has_had_traffic(monkeypatch, received, other_end, sent, spoken):
    files = {"statistics/rx_packets": received, "iflink": other_end, "statistics/tx_packets": sent}

    def read(path):
        value = files[path.removeprefix("/sys/class/net/veth1234567/")]
        if value is None:
            raise KernelError("read", errno.ENOENT)
        return f"{value}\n"

    monkeypatch.setattr(procfs, "read", read)
    assert veth.has_traffic("veth1234567") is spoken
