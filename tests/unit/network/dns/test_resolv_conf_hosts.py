"""The three files of names, word for word as Docker writes them."""

from __future__ import annotations

import pytest

from minirun.network.dns import hosts, resolv_conf
from minirun.network.dns.resolv_conf import ResolverOptions

STANDARD = """\
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
ff00::0	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
"""


def test_hosts():
    assert hosts.render([("172.17.0.2", "2ea7052a7a65")]) == STANDARD + "172.17.0.2\t2ea7052a7a65\n"
    assert hosts.render([]) == STANDARD


@pytest.mark.parametrize(
    ("name", "domain", "line"),
    [
        ("box.example.org", "", "172.17.0.2\tbox.example.org box\n"),
        ("box", "example.org", "172.17.0.2\tbox.example.org box\n"),
        ("box", "", "172.17.0.2\tbox\n"),
        ("a b", "", "172.17.0.2\ta b\n"),
    ],
)
def test_own_line(name, domain, line):
    assert hosts.render([("172.17.0.2", name)], domain=domain) == STANDARD + line


def test_added_hosts_stand_before_the_own_line():
    extra = ["foo.example:192.0.2.1", "host.docker.internal:host-gateway", "six:2001:db8::1"]
    assert hosts.render([("172.17.0.2", "w")], extra, gateway="172.17.0.1") == STANDARD + (
        "192.0.2.1\tfoo.example\n172.17.0.1\thost.docker.internal\n2001:db8::1\tsix\n172.17.0.2\tw\n"
    )


def test_hosts_with_the_hosts_network():
    assert hosts.for_host_network("127.0.0.1 here\n") == "127.0.0.1 here\n"
    assert hosts.for_host_network("127.0.0.1 here\n", ["a:192.0.2.1"]) == STANDARD + "192.0.2.1\ta\n"


def test_hostname():
    assert hosts.hostname("2ea7052a7a65") == "2ea7052a7a65\n"


@pytest.mark.parametrize(
    ("host", "container"),
    [
        # a copy when every server can be reached, comments and all
        ("# c\nnameserver 192.0.2.1\n", "# c\nnameserver 192.0.2.1\n"),
        (
            "search lab.example\nnameserver 127.0.0.53\noptions edns0\n",
            "search lab.example\noptions edns0\n\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n",
        ),
        (
            "# c\ndomain d.example\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions timeout:1\n",
            "# c\ndomain d.example\nnameserver 192.0.2.1\noptions timeout:1\n",
        ),
        ("", "\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("nameserver ::1\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("nameserver 2001:db8::53\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("nameserver 127.0.0.1\n\n\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
    ],
)
def test_resolv_conf_of_the_default_bridge(host, container):
    assert resolv_conf.for_default_bridge(host, ResolverOptions()) == container


def test_resolv_conf_keeps_ipv6_servers_for_who_can_reach_them():
    assert (
        resolv_conf.for_default_bridge("nameserver 2001:db8::53\n", ResolverOptions(), ipv6=True)
        == "nameserver 2001:db8::53\n"
    )


HOST = "domain d.example\nsearch one.example\nsearch lab.example two\nnameserver 127.0.0.53\noptions edns0\n"


@pytest.mark.parametrize(
    ("requested", "container"),
    [
        (
            ResolverOptions(["192.0.2.53", "192.0.2.54"], ["example.org"], ["ndots:2"]),
            "search example.org\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:2\n",
        ),
        (ResolverOptions(["192.0.2.53"]), "search lab.example two\nnameserver 192.0.2.53\noptions edns0\n"),
        (ResolverOptions(["192.0.2.53"], ["."]), "nameserver 192.0.2.53\noptions edns0\n"),
        (
            ResolverOptions((), (), ["timeout:1", "rotate"]),
            "search lab.example two\nnameserver 127.0.0.53\noptions timeout:1 rotate\n",
        ),
    ],
)
def test_resolv_conf_with_wishes(requested, container):
    assert resolv_conf.for_default_bridge(HOST, requested) == container


def test_resolv_conf_with_the_hosts_network():
    assert resolv_conf.for_host_network(HOST, ResolverOptions()) == HOST
    assert (
        resolv_conf.for_host_network(HOST, ResolverOptions(["192.0.2.53"])).splitlines()[1] == "nameserver 192.0.2.53"
    )


def test_nameservers():
    assert resolv_conf.nameservers(
        "nameserver 192.0.2.1 # x\n#nameserver 192.0.2.2\nnameserver\n nameserver\t2001:db8::1\n"
        "nameserver not-an-address\n"
    ) == ["192.0.2.1", "2001:db8::1"]


@pytest.fixture
def files(tmp_path):
    def write(text, resolved=None):
        (tmp_path / "resolv.conf").write_text(text)
        if resolved is not None:
            (tmp_path / "resolved").write_text(resolved)
        return resolv_conf.read_host(str(tmp_path / "resolv.conf"), str(tmp_path / "resolved"))

    return write


def test_the_servers_behind_systemd_resolved(files):
    stub = "nameserver 127.0.0.53\noptions edns0\n"
    assert files(stub) == stub
    assert files(stub, "nameserver 192.0.2.1\n") == "nameserver 192.0.2.1\n"
    assert files("nameserver 192.0.2.9\n", "nameserver 192.0.2.1\n") == "nameserver 192.0.2.9\n"


def test_no_resolv_conf_at_all(tmp_path):
    assert resolv_conf.read_host(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "search lab.example\noptions edns0\nnameserver 192.0.2.1\n",
            "search lab.example\nnameserver 127.0.0.11\noptions edns0 ndots:0\n",
        ),
        (
            "# c\ndomain d.example\nnameserver 192.0.2.1\noptions timeout:1\n",
            "nameserver 127.0.0.11\noptions timeout:1 ndots:0\n",
        ),
        ("\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n", "nameserver 127.0.0.11\noptions ndots:0\n"),
        ("nameserver 192.0.2.53\noptions ndots:2\n", "nameserver 127.0.0.11\noptions ndots:2\n"),
        (
            "nameserver 192.0.2.53\nnameserver 2001:db8::53\n",
            "nameserver 127.0.0.11\nnameserver 2001:db8::53\noptions ndots:0\n",
        ),
    ],
)
def test_resolv_conf_on_a_network_of_the_users_own(before, after):
    assert resolv_conf.for_user_network(before) == after


def test_lines_that_say_no_more_than_a_name_are_taken_out():
    text = "127.0.0.1\tlocalhost\n192.0.2.1\tc1\n192.0.2.2\tx c1\n# 192.0.2.3\tc1\n192.0.2.4\tc10"
    assert hosts.without_names(text, ["c1", "other"]) == (
        "127.0.0.1\tlocalhost\n192.0.2.2\tx c1\n# 192.0.2.3\tc1\n192.0.2.4\tc10"
    )
    assert hosts.without_names(text, []) == text


def test_a_linked_container_with_a_new_address():
    text = "172.17.0.2\tsrv abc d5\n172.17.0.2\tsrv2 abc\n"
    assert hosts.with_new_address(text, "172.17.0.9", "srv") == "172.17.0.9\tsrv abc d5\n172.17.0.2\tsrv2 abc\n"


def test_links_come_before_the_containers_own_lines():
    assert (
        hosts.render([("192.0.2.9", "me")], ["x:host-gateway"], gateway="172.17.0.1", links=[("192.0.2.3", "srv abc")])[
            len(STANDARD) :
        ]
        == "172.17.0.1\tx\n192.0.2.3\tsrv abc\n192.0.2.9\tme\n"
    )
