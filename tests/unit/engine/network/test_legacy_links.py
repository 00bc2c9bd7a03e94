"""The variables that tell of a linked container: texts and order as a real Docker printed them."""

from minirun.engine.network.legacy_links import variables

CONFIG = {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Env": ["FOO=bar", "PATH=/bin", "HOME=/root"]}


def test_variables_in_dockers_order():
    assert (
        variables("srv", "/d6/srv", "172.17.0.3", CONFIG)
        == """\
SRV_PORT=udp://172.17.0.3:53
SRV_PORT_53_UDP=udp://172.17.0.3:53
SRV_PORT_53_UDP_ADDR=172.17.0.3
SRV_PORT_53_UDP_PORT=53
SRV_PORT_53_UDP_PROTO=udp
SRV_PORT_80_TCP=tcp://172.17.0.3:80
SRV_PORT_80_TCP_ADDR=172.17.0.3
SRV_PORT_80_TCP_PORT=80
SRV_PORT_80_TCP_PROTO=tcp
SRV_NAME=/d6/srv
SRV_ENV_FOO=bar""".split("\n")
    )


def test_ports_in_a_row_are_also_told_as_a_range():
    ports = {f"{number}/tcp": {} for number in (7000, 7001, 7002, 7003, 9000)} | {"7002/udp": {}}
    lines = variables("my-alias", "/x/my-alias", "172.17.0.3", {"ExposedPorts": ports, "Env": None})
    assert (
        lines[:7]
        == """\
MY_ALIAS_PORT=tcp://172.17.0.3:7000
MY_ALIAS_PORT_7000_TCP_START=tcp://172.17.0.3:7000
MY_ALIAS_PORT_7000_TCP_ADDR=172.17.0.3
MY_ALIAS_PORT_7000_TCP_PROTO=tcp
MY_ALIAS_PORT_7000_TCP_PORT_START=7000
MY_ALIAS_PORT_7000_TCP_END=tcp://172.17.0.3:7003
MY_ALIAS_PORT_7000_TCP_PORT_END=7003""".split("\n")
    )
    told = [line.partition("=")[0] for line in lines[7:] if line.endswith(("tcp", "udp"))]
    assert told == [
        f"MY_ALIAS_PORT_{port}_PROTO"
        for port in ("7000_TCP", "7001_TCP", "7002_TCP", "7002_UDP", "7003_TCP", "9000_TCP")
    ]
    assert lines[-1] == "MY_ALIAS_NAME=/x/my-alias"


def test_one_that_exposes_nothing_has_a_name():
    assert variables("q", "/t/q", "172.17.0.3", {"Env": None}) == ["Q_NAME=/t/q"]
