"""Addresses: Docker's order, lowest first, free again at once; the directory is the table."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import EngineError
from minirun.network import ipam
from minirun.network.ipam import Subnet

SUBNET = Subnet("172.17.0.0/16")


@pytest.fixture
def take(tmp_path):
    def reserve(owner="c" * 64, subnet=SUBNET, gateway="172.17.0.1"):
        return ipam.reserve(str(tmp_path), subnet, gateway, owner, "veth0000000")
    reserve.directory = str(tmp_path)
    os.mkdir(f"{tmp_path}/cables")
    return reserve


def give_back(take, address, owner="c" * 64):
    return ipam.release(take.directory, address, owner, f"{take.directory}/cables/veth0000000")


def test_the_lowest_free_one_and_immediate_reuse(take):
    assert [take() for _ in range(3)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    assert give_back(take, "172.17.0.2")
    assert take() == "172.17.0.2"
    assert give_back(take, "172.17.0.3")
    assert give_back(take, "172.17.0.2")
    assert [take(), take(), take()] == ["172.17.0.2", "172.17.0.3", "172.17.0.5"]


def test_the_file_says_who_has_it(take):
    take("a" * 64)
    with open(f"{take.directory}/172.17.0.2") as file:
        assert file.read() == "a" * 64 + " veth0000000\n"
    assert ipam.reservations(take.directory) == [("172.17.0.2", "a" * 64, "veth0000000")]


def test_what_another_has_is_not_released(take):
    take("a" * 64)
    assert not give_back(take, "172.17.0.2", "b" * 64)
    assert ipam.owner_of(take.directory, "172.17.0.2")[0] == "a" * 64
    assert give_back(take, "172.17.0.2", "a" * 64)
    assert not give_back(take, "172.17.0.2", "a" * 64)


def test_an_address_whose_taker_died_before_he_signed_is_not_given_out_but_seen(take):
    open(f"{take.directory}/172.17.0.2", "w").close()
    assert take() == "172.17.0.3"
    assert ipam.reservations(take.directory)[0] == ("172.17.0.2", "", "")


def test_a_small_network_runs_full(take):
    tiny = Subnet("10.1.2.0/30")
    assert take(subnet=tiny, gateway="10.1.2.1") == "10.1.2.2"
    assert take(subnet=tiny, gateway="10.1.2.1") is None


def test_a_gateway_in_the_middle_is_left_out(take):
    subnet = Subnet("10.1.2.0/29")
    assert [take(subnet=subnet, gateway="10.1.2.3") for _ in range(6)] == [
        "10.1.2.1", "10.1.2.2", "10.1.2.4", "10.1.2.5", "10.1.2.6", None]


def test_reservations_are_listed_by_number_not_by_letter(take):
    for _ in range(12):
        take()
    assert [address for address, _, _ in ipam.reservations(take.directory)][-3:] == [
        "172.17.0.11", "172.17.0.12", "172.17.0.13"]


def test_subnet_words():
    subnet = Subnet("172.17.5.9/16")
    assert (str(subnet), subnet.broadcast, subnet.prefix) == ("172.17.0.0/16", "172.17.255.255", 16)
    assert str(Subnet("192.0.2.53")) == "192.0.2.53/32"


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_overlap_is_that_of_the_standard_library(one, one_prefix, other, other_prefix):
    import ipaddress

    pairs = (one, one_prefix), (other, other_prefix)
    theirs = [ipaddress.ip_network(pair, strict=False) for pair in pairs]
    ours = [Subnet(f"{ipam.address_of(number)}/{prefix}") for number, prefix in pairs]
    assert [str(subnet) for subnet in ours] == [str(subnet) for subnet in theirs]
    assert ours[0].overlaps(ours[1]) == theirs[0].overlaps(theirs[1])


def test_dockers_pools_in_dockers_order():
    assert ipam.POOLS[:2] == ("172.17.0.0/16", "172.18.0.0/16")
    assert ipam.POOLS[14:17] == ("172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20")
    assert (len(ipam.POOLS), ipam.POOLS[-1]) == (31, "192.168.240.0/20")


@pytest.mark.parametrize(("taken", "free"), [
    ([], "172.17.0.0/16"),
    (["172.17.0.0/16"], "172.18.0.0/16"),
    (["172.17.200.0/24", "172.18.0.1/32"], "172.19.0.0/16"),
    (["172.16.0.0/12"], "192.168.0.0/20"),
    (["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"),
])
def test_the_first_pool_that_overlaps_with_nothing(taken, free):
    assert str(ipam.free_pool(map(Subnet, taken))) == free


def test_no_pool_left():
    with pytest.raises(EngineError, match="^could not find an available, non-overlapping IPv4 address pool among the "
                                          "defaults to assign to the network$"):
        ipam.free_pool([Subnet("172.16.0.0/12"), Subnet("192.168.0.0/16")])
