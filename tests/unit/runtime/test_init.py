"""The container's process before it is a container."""

import os

import pytest

from minirun.errors import MinirunError
from minirun.kernel.socketpair import Channel
from minirun.runtime import init


def test_it_says_how_far_it_is():
    ours, theirs = Channel.pair()
    init.notify_parent(init.InheritedFds(theirs), "namespaces")
    assert ours.receive() == {"namespaces": os.getpid()}


def test_it_does_not_wait_for_a_start_that_nobody_will_give():
    ours, theirs = Channel.pair()
    ours.close()
    with pytest.raises(MinirunError, match="nobody is left"):
        init.notify_parent(init.InheritedFds(theirs), "ready")
