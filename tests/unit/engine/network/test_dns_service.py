"""Who is on a network, read from the files that say so; and whom a name service asks for the rest."""

from __future__ import annotations

import os
import resource
import time

import pytest

from minirun import rmtree, store
from minirun.engine.network import dns_service
from minirun.network.dns import resolv_conf
from minirun.network.dns.message import AAAA, A
from minirun.network.dns.resolv_conf import ResolverOptions

NETWORK = "7" * 64


class Run:
    """An exec root with one network."""

    def __init__(self, path):
        self.path = str(path)
        self.directory = f"{path}/networks/{NETWORK}"
        store.make_directory(f"{self.directory}/cables")
        store.write(f"{self.directory}/network.json", {})

    def reserve(self, owner, address):
        store.reserve(f"{self.directory}/{address}", f"{owner} veth{owner}\n")

    def note(self, owner, names, network=NETWORK):
        store.make_directory(f"{self.path}/containers/{owner}")
        endpoint = {"NetworkID": network, "Network": "foo", "DNSNames": names}
        store.write(f"{self.path}/containers/{owner}/cable.json", {"Endpoints": {"foo": endpoint}})

    def plug(self, owner, names, *addresses):
        for address in addresses:
            self.reserve(owner, address)
        self.note(owner, names)

    def unplug(self, address):
        os.rename(f"{self.directory}/{address}", f"{self.directory}/cables/x{time.monotonic_ns()}")


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.fixture
def foo(run):
    names = dns_service.ServiceRecords(run.path, {"NetworkID": NETWORK, "Network": "foo", "Links": ["u2:lnk", "u1"]})

    def ask(name, family=A):
        names.refresh()
        found = names.addresses(name, family)
        return found and sorted(".".join(map(str, each)) if len(each) == 4 else each.hex() for each in found)

    ask.names = names
    return ask


def test_names(run, foo):
    run.plug("1" * 64, ["u1", "db", "1" * 12], "172.18.0.2")
    run.plug("2" * 64, ["u2", "DB", "db"], "172.18.0.3", "2001:db8:1::3")
    assert foo("u1") == foo("1" * 12) == ["172.18.0.2"]
    assert foo("db") == foo("Db") == ["172.18.0.2", "172.18.0.3"]
    assert foo("u2", AAAA) == ["20010db8000100000000000000000003"]
    assert foo("u1", AAAA) == []
    assert foo("veth") is foo("network.json") is None
    assert foo.names.name_of(bytes([172, 18, 0, 3])) == "u2"
    assert foo.names.name_of(bytes([172, 18, 0, 4])) == ""
    assert foo.names.links == {"lnk": "u2", "u1": "u1"}


def test_a_name_comes_and_goes(run, foo):
    """However fast: the clock of files stands still for some milliseconds."""
    for turn in range(50):
        run.plug(f"{turn:064}", ["web"], "172.18.0.2")
        assert foo("web") == ["172.18.0.2"]
        run.unplug("172.18.0.2")
        assert foo("web") is None
        run.plug(f"{turn:063}x", ["other"], "172.18.0.2")
        assert (foo("other"), foo("web")) == (["172.18.0.2"], None)
        run.unplug("172.18.0.2")


def test_an_address_comes_before_its_name(run, foo):
    run.plug("1" * 64, ["u1"], "172.18.0.2")
    run.reserve("2" * 64, "172.18.0.3")
    time.sleep(2 * dns_service.JIFFY / 1e9)
    assert (foo("u1"), foo("u2")) == (["172.18.0.2"], None)
    run.note("2" * 64, ["u2"], network="another")
    assert foo("u2") is None
    run.note("2" * 64, ["u2"])
    assert foo("u2") == ["172.18.0.3"]


def test_a_quiet_network_is_not_read_again(run, foo, monkeypatch):
    run.plug("1" * 64, ["u1"], "172.18.0.2")
    time.sleep(2 * dns_service.JIFFY / 1e9)
    foo("u1")
    monkeypatch.setattr(foo.names, "_read", lambda: pytest.fail("read again"))
    assert foo("u1") == ["172.18.0.2"]


def test_a_network_that_is_gone(run, foo):
    run.plug("1" * 64, ["u1"], "172.18.0.2")
    assert foo("u1") == ["172.18.0.2"]
    rmtree.remove_tree(run.directory)
    assert foo("u1") is None


def test_without_a_descriptor_left_what_was_known_will_do(run, foo):
    run.plug("1" * 64, ["u1"], "172.18.0.2")
    assert foo("u1") == ["172.18.0.2"]
    run.plug("2" * 64, ["u2"], "172.18.0.3")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = foo("u1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == ["172.18.0.2"]
    assert foo("u2") == ["172.18.0.3"]


# ---- who is asked for the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "requested", "servers"),
    [
        (
            "nameserver 127.0.0.1\nnameserver 192.0.2.1\n",
            ResolverOptions(),
            [("127.0.0.1", True), ("192.0.2.1", False)],
        ),
        ("nameserver 127.0.0.53\n", ResolverOptions(), [("127.0.0.53", True)]),
        ("", ResolverOptions(), [("8.8.8.8", False), ("8.8.4.4", False)]),
        ("nameserver ::1\nnameserver 2001:db8::1\n", ResolverOptions(), [("8.8.8.8", False), ("8.8.4.4", False)]),
        (
            "nameserver 192.0.2.1\n",
            ResolverOptions(["192.0.2.53", "127.0.0.5"]),
            [("192.0.2.53", False), ("127.0.0.5", False)],
        ),
        ("nameserver 127.0.0.1\n", ResolverOptions((), ["example.org"]), [("127.0.0.1", False)]),
    ],
)
def test_forwarders(host, requested, servers):
    assert resolv_conf.forwarders(host, requested) == servers


def test_ndots():
    assert resolv_conf.has_ndots("options edns0 ndots:2\n")
    assert not resolv_conf.has_ndots("options edns0\nsearch ndots.example\n")
