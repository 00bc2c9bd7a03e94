"""Addresses: Docker's order, lowest first, free again at once; the directory is the table."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import EngineError
from minirun.network.ipam import address_pool, default_pools
from minirun.network.ipam.address_pool import Pool
from minirun.network.ipam.subnet import Subnet, address_of

SUBNET = Subnet("172.17.0.0/16")


@pytest.fixture
def take(tmp_path):
    def reserve(owner="c" * 64, subnet=SUBNET, gateway="172.17.0.1", **words):
        return address_pool.reserve_next(str(tmp_path), Pool(subnet, gateway, **words), owner, "veth0000000")

    reserve.directory = str(tmp_path)
    os.mkdir(f"{tmp_path}/cables")
    return reserve


def give_back(take, address, owner="c" * 64):
    return address_pool.release(take.directory, address, owner, f"{take.directory}/cables/veth0000000")


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
    assert address_pool.reservations(take.directory) == [("172.17.0.2", "a" * 64, "veth0000000")]


def test_what_another_has_is_not_released(take):
    take("a" * 64)
    assert not give_back(take, "172.17.0.2", "b" * 64)
    assert address_pool.owner_of(take.directory, "172.17.0.2")[0] == "a" * 64
    assert give_back(take, "172.17.0.2", "a" * 64)
    assert not give_back(take, "172.17.0.2", "a" * 64)


def test_an_address_whose_taker_died_before_he_signed_is_not_given_out_but_seen(take):
    open(f"{take.directory}/172.17.0.2", "w").close()
    assert take() == "172.17.0.3"
    assert address_pool.reservations(take.directory)[0] == ("172.17.0.2", "", "")


def test_a_small_network_runs_full(take):
    tiny = Subnet("10.1.2.0/30")
    assert take(subnet=tiny, gateway="10.1.2.1") == "10.1.2.2"
    assert take(subnet=tiny, gateway="10.1.2.1") is None


def test_a_gateway_in_the_middle_is_left_out(take):
    subnet = Subnet("10.1.2.0/29")
    assert [take(subnet=subnet, gateway="10.1.2.3") for _ in range(6)] == [
        "10.1.2.1",
        "10.1.2.2",
        "10.1.2.4",
        "10.1.2.5",
        "10.1.2.6",
        None,
    ]


def test_reservations_are_listed_by_number_not_by_letter(take):
    for _ in range(12):
        take()
    assert [address for address, _, _ in address_pool.reservations(take.directory)][-3:] == [
        "172.17.0.11",
        "172.17.0.12",
        "172.17.0.13",
    ]


def test_subnet_words():
    subnet = Subnet("172.17.5.9/16")
    assert (str(subnet), subnet.broadcast, subnet.prefix) == ("172.17.0.0/16", "172.17.255.255", 16)
    assert str(Subnet("192.0.2.53")) == "192.0.2.53/32"


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_overlap_is_that_of_the_standard_library(one, one_prefix, other, other_prefix):
    import ipaddress

    pairs = (one, one_prefix), (other, other_prefix)
    theirs = [ipaddress.ip_network(pair, strict=False) for pair in pairs]
    ours = [Subnet(f"{address_of(number)}/{prefix}") for number, prefix in pairs]
    assert [str(subnet) for subnet in ours] == [str(subnet) for subnet in theirs]
    assert ours[0].overlaps(ours[1]) == theirs[0].overlaps(theirs[1])


# ---- ranges, addresses of one's choice, IPv6 --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subnet", "gateway", "range_", "aux", "expected"),
    [
        ("10.9.9.0/24", "10.9.9.1", "10.9.9.128/25", (), ["10.9.9.128", "10.9.9.129"]),  # its first one is usable
        ("10.2.0.0/16", "10.2.0.254", "10.2.1.0/30", (), ["10.2.1.0", "10.2.1.1", "10.2.1.2", "10.2.1.3", None]),
        ("10.3.0.0/24", "10.3.0.1", "", ("10.3.0.2", "10.3.0.4"), ["10.3.0.3", "10.3.0.5"]),
        ("172.17.0.0/16", "172.17.0.1", "10.2.0.0/24", (), ["172.17.0.2"]),  # of a range only the host part counts
        ("2001:db8:1::/64", "2001:db8:1::1", "", (), ["2001:db8:1::2", "2001:db8:1::3"]),
        ("2001:db8:1::/64", "2001:db8:1::ff00", "2001:db8:1::ff00/127", (), ["2001:db8:1::ff01", None]),
        (
            "2001:db8::/126",
            "2001:db8::1",
            "",
            (),
            ["2001:db8::2", "2001:db8::3", None],
        ),  # IPv6 has no broadcast address
    ],
)
def test_ranges_and_taken_addresses(take, subnet, gateway, range_, aux, expected):
    assert [take(subnet=Subnet(subnet), gateway=gateway, range_=range_, aux=aux) for _ in expected] == expected


def test_an_address_of_ones_choice(take):
    pool = Pool(SUBNET, "172.17.0.1", aux=["172.17.0.9"])
    assert address_pool.reserve_address(take.directory, pool, "172.17.0.5", "a" * 64, "veth1") == "172.17.0.5"
    for taken in ("172.17.0.5", "172.17.0.1", "172.17.0.0", "172.17.255.255", "172.17.0.9"):
        with pytest.raises(EngineError, match="^Address already in use$"):
            address_pool.reserve_address(take.directory, pool, taken, "b" * 64, "veth2")
    for outside in ("10.7.0.1", "2001:db8::1"):
        with pytest.raises(
            EngineError, match=f"^Invalid address {outside}: It does not belong to any of this network's subnets$"
        ):
            address_pool.reserve_address(take.directory, pool, outside, "b" * 64, "veth2")
    six = Pool(Subnet("2001:db8::/64"), "2001:db8::1")
    assert address_pool.reserve_address(take.directory, six, "2001:0db8:0::00ff", "a" * 64, "veth1") == "2001:db8::ff"
    assert [address for address, _, _ in address_pool.reservations(take.directory)] == ["172.17.0.5", "2001:db8::ff"]


# ---- pools ------------------------------------------------------------------------------------------------------

POOLS = default_pools.split(default_pools.DEFAULT_POOLS)


def free(start, *taken, **words):
    return str(POOLS[default_pools.first_free(POOLS, start, map(Subnet, taken), **words)])


def test_dockers_pools_in_dockers_order():
    names = [str(pool) for pool in POOLS]
    assert names[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert names[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert (len(names), names[-1]) == (31, "192.168.240.0/20")


def test_pools_of_ones_own():
    assert [str(pool) for pool in default_pools.split([("10.50.0.0/23", 24), ("10.60.0.0/16", 16)])] == [
        "10.50.0.0/24",
        "10.50.1.0/24",
        "10.60.0.0/16",
    ]
    for size in (8, 33):
        with pytest.raises(EngineError, match=f"^invalid pools size: {size}$"):
            default_pools.split([("10.50.0.0/16", size)])


@pytest.mark.parametrize(
    ("start", "taken", "expected"),
    [
        (0, [], "172.17.0.0/16"),
        (0, ["172.17.0.0/16"], "172.18.0.0/16"),
        (0, ["172.17.200.0/24", "172.18.0.1/32"], "172.19.0.0/16"),
        (0, ["172.16.0.0/12"], "192.168.0.0/20"),
        (0, ["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"),
        (13, [], "172.30.0.0/16"),
        (30, [], "192.168.240.0/20"),
        (31, ["172.17.0.0/16"], "172.18.0.0/16"),  # around the end
    ],
)
def test_the_next_pool_that_overlaps_with_nothing(start, taken, expected):
    assert free(start, *taken) == expected


def test_no_pool_left():
    text = "^could not find an available, non-overlapping IPv{} address pool among the defaults to assign"
    with pytest.raises(EngineError, match=text.format(4)):
        free(5, "172.16.0.0/12", "192.168.0.0/16")
    with pytest.raises(EngineError, match=text.format(6)):
        free(0, ipv6=True)
