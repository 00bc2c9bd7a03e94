"""Which of several networks has the way out, and what interfaces are called."""

import pytest

from harness.engine_samples import ID
from minirun.engine.network import endpoint_config, sandbox_store
from minirun.errors import EngineError


def endpoint(name, *, gateway="192.0.2.1", six="", internal=False, address="192.0.2.2"):
    made = {"Network": name, "Gateway": gateway, "IPv6Gateway": six, "IPAddress": address, "Interface": "eth0"}
    return made | ({"Internal": True} if internal else {})


def note(*endpoints):
    return {"Endpoints": {one["Network"]: one for one in endpoints}, "Interfaces": {}}


@pytest.mark.parametrize(
    ("endpoints", "order"),
    [
        ([endpoint("zz"), endpoint("bridge"), endpoint("aa")], "aa bridge zz"),
        ([endpoint("aa"), endpoint("six", six="2001:db8::1")], "six aa"),
        ([endpoint("int", internal=True), endpoint("zz")], "zz int"),
        ([endpoint("int", internal=True, six="2001:db8::1"), endpoint("zz")], "zz int"),
        ([endpoint("none", gateway="", address=""), endpoint("zz")], "zz"),
    ],
)
def test_the_way_out(endpoints, order):
    assert [one["Network"] for one in sandbox_store.gateway_order(note(*endpoints))] == order.split()


def test_interfaces_count_up_for_each_prefix():
    found = note()
    names = []
    for prefix in ("eth0", "eth0", "lan0", "eth0"):
        one = endpoint("x")
        one["Interface"] = prefix
        sandbox_store.assign_interface(found, one)
        names.append(one["Interface"])
    assert names == ["eth0", "eth1", "lan0", "eth2"]


def record(mode="foo", **config):
    return {
        "ID": ID,
        "Config": {"Hostname": "hoho", **config},
        "HostConfig": {"NetworkMode": mode},
        "Networks": {endpoint_config.network_of_mode(mode): endpoint_config.defaults()},
    }


def test_names_that_every_container_has_on_a_network_of_the_users_own():
    wish = {**endpoint_config.defaults(), "Aliases": ["db", ID[:12]]}
    endpoint_config.add_default_aliases(record(), "foo", wish)
    assert wish["Aliases"] == ["db", ID[:12], "hoho"]
    endpoint_config.add_default_aliases(record(), "bridge", blank := endpoint_config.defaults())
    assert blank["Aliases"] is None


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_what_a_predefined_network_cannot_do(name):
    with pytest.raises(EngineError, match="^user specified IP address is supported on user defined networks only$"):
        endpoint_config.add_default_aliases(
            record(), name, {**endpoint_config.defaults(), "IPAMConfig": {"IPv4Address": "192.0.2.9"}}
        )
    with pytest.raises(EngineError, match="^network-scoped alias is supported only for containers in user defined"):
        endpoint_config.add_default_aliases(record(), name, {**endpoint_config.defaults(), "Aliases": ["x"]})


@pytest.mark.parametrize("text", ["02:11:22:33:44:5F", "02-11-22-33-44-5f", "0211.2233.445f"])
def test_a_mac_address_is_for_the_first_network_alone(text):
    wanted = record("default", MacAddress=text)
    assert endpoint_config.requested_mac(wanted, "bridge") == "02:11:22:33:44:5f"
    assert endpoint_config.requested_mac(wanted, "foo") == ""


def test_the_default_network_is_plugged_in_first():
    wanted = record()
    wanted["Networks"] = dict.fromkeys(("zz", "bridge", "aa"), endpoint_config.defaults())
    assert endpoint_config.join_order(wanted) == ["bridge", "aa", "zz"]
