"""-p and --expose in all forms: what a real Docker 20.10 makes of them, word for word."""

from __future__ import annotations

import pytest

from minirun.cli.container import port
from minirun.cli.run import publish as publish_flags
from minirun.errors import ClientError


def read(*publish, expose=()):
    bindings, exposed = publish_flags.read(publish, expose)
    return bindings, list(exposed)


def one(address: str, host: str, word: str = "80/tcp") -> dict:
    return {word: [{"HostIp": address, "HostPort": host}]}


@pytest.mark.parametrize(
    ("word", "bindings"),
    [
        ("8080:80", one("", "8080")),
        ("80", one("", "")),
        (":80", one("", "")),
        ("::80", one("", "")),
        ("80/udp", one("", "", "80/udp")),
        ("80/UDP", one("", "", "80/udp")),
        ("80/", one("", "")),
        ("80:80/tcp/udp", one("", "80")),
        ("8080:80/sctp", one("", "8080", "80/sctp")),
        ("0:80", one("", "0")),
        ("8080:0", one("", "8080", "0/tcp")),
        ("080:80", one("", "80")),
        ("127.0.0.1:8080:80", one("127.0.0.1", "8080")),
        ("127.0.0.1::80", one("127.0.0.1", "")),
        ("[::1]:8080:80", one("::1", "8080")),
        ("[::]:8080:80", one("::", "8080")),
        ("[::1]::80", one("::1", "")),
        ("9000-9005:80", one("", "9000-9005")),
        ("80-81-82:80", one("", "80-81")),
        ("8080-8081:80-81", {**one("", "8080"), **one("", "8081", "81/tcp")}),
        ("80-81", {**one("", ""), **one("", "", "81/tcp")}),
        ("127.0.0.1:8080-8081:80-81/udp", {**one("127.0.0.1", "8080", "80/udp"), **one("127.0.0.1", "8081", "81/udp")}),
        ("target=80,published=8080", one("", "8080")),
        ("target=80,published=8080,protocol=udp,mode=host", one("", "8080", "80/udp")),
        ("target=80", one("", "")),
        ("mode=host,target=80,published=8080", one("", "8080")),
        ("target=80,published=8080-8082", one("", "8080-8082")),
        ("target=80,foo=bar", one("", "")),
    ],
)
def test_a_published_port(word, bindings):
    assert read(word) == (bindings, list(bindings))


def test_several_for_one_port_stay_in_order():
    assert read("8081:80", "127.0.0.1:8080:80/tcp") == (
        {"80/tcp": [{"HostIp": "", "HostPort": "8081"}, {"HostIp": "127.0.0.1", "HostPort": "8080"}]},
        ["80/tcp"],
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("", "No port specified: <empty>"),
        (":", "No port specified: :<empty>"),
        ("8080:", "No port specified: 8080:<empty>"),
        ("/tcp", "No port specified: /tcp<empty>"),
        ("published=80", "No port specified: 80:/tcp<empty>"),
        ("99999:80", "Invalid hostPort: 99999"),
        ("65536:80", "Invalid hostPort: 65536"),
        ("abc:80", "Invalid hostPort: abc"),
        ("-1:80", "Invalid hostPort: -1"),
        ("+80:80", "Invalid hostPort: +80"),
        ("0x50:80", "Invalid hostPort: 0x50"),
        (" 80:80", "Invalid hostPort:  80"),
        ("80 :80", "Invalid hostPort: 80 "),
        ("80-:80", "Invalid hostPort: 80-"),
        ("1.2.3.4:80", "Invalid hostPort: 1.2.3.4"),
        ("target=80,published=abc", "Invalid hostPort: abc"),
        ("80:65536", "Invalid containerPort: 65536"),
        ("80:80-", "Invalid containerPort: 80-"),
        ("82-80:82-80", "Invalid containerPort: 82-80"),
        ("80-82:82-80", "Invalid containerPort: 82-80"),
        ("abc", "Invalid containerPort: abc"),
        ("target", "Invalid containerPort: target"),
        ("80:80/foo", "Invalid proto: foo"),
        ("target=80,protocol=foo", "Invalid proto: foo"),
        ("1-3:1-2", "Invalid ranges specified for container and host Ports: 1-2 and 1-3"),
        ("8080:80-82", "Invalid ranges specified for container and host Ports: 80-82 and 8080"),
        ("300.1.1.1:80:80", "Invalid ip address: 300.1.1.1"),
        ("localhost:80:80", "Invalid ip address: localhost"),
        ("1.2.3:80:80", "Invalid ip address: 1.2.3"),
        ("[fe80::1%eth0]:80:80", "Invalid ip address: fe80::1%eth0"),
        ("8080:80:90:100", "Invalid ip address 8080:80: address 8080:80:: too many colons in address"),
        ("::1:8080:80", "Invalid ip address ::1: address ::1:: too many colons in address"),
        ("[::1]:80", "Invalid ip address [:: address [::: missing ']' in address"),
    ],
)
def test_a_wrong_published_port(word, text):
    with pytest.raises(ClientError) as caught:
        read(word)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("word", "exposed"),
    [
        ("80", ["80/tcp"]),
        ("80-82/udp", ["80/udp", "81/udp", "82/udp"]),
        ("80/foo", ["80/foo"]),
        ("80/tcp/x", ["80/tcp"]),
        ("0", ["0/tcp"]),
    ],
)
def test_an_exposed_port(word, exposed):
    assert read(expose=[word]) == ({}, exposed)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("82-80", "invalid range format for --expose: 82-80, error: Invalid range specified for the Port: 82-80"),
        ("abc", 'invalid range format for --expose: abc, error: strconv.ParseUint: parsing "abc": invalid syntax'),
        (
            "99999",
            'invalid range format for --expose: 99999, error: strconv.ParseUint: parsing "99999": value out of range',
        ),
        ("", "invalid range format for --expose: , error: Empty string specified for ports."),
        ("8080:80", "invalid port format for --expose: 8080:80"),
    ],
)
def test_a_wrong_exposed_port(word, text):
    with pytest.raises(ClientError) as caught:
        read(expose=[word])
    assert caught.value.message == text


# ---- as `ps` shows them ----------------------------------------------------------------------------------------


def both(number) -> list[dict[str, str]]:
    return [{"HostIp": "0.0.0.0", "HostPort": str(number)}, {"HostIp": "::", "HostPort": str(number)}]


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ({}, ""),
        ({"80/tcp": None}, "80/tcp"),
        ({"80/tcp": both(8080)}, "0.0.0.0:8080->80/tcp, :::8080->80/tcp"),
        ({"100/tcp": None, "101/tcp": None, "102/tcp": None, "101/udp": None}, "100-102/tcp, 101/udp"),
        (
            {
                **{f"{number}/tcp": both(number) for number in (80, 81, 82)},
                **{f"{number}/tcp": None for number in (100, 101, 102, 104)},
            },
            "100-102/tcp, 0.0.0.0:80-82->80-82/tcp, :::80-82->80-82/tcp, 104/tcp",
        ),
        (
            {
                "70/tcp": [{"HostIp": "127.0.0.1", "HostPort": "70"}],
                "80/tcp": both(8081) + both(8080),
                "90/tcp": both(90),
            },
            "127.0.0.1:70->70/tcp, 0.0.0.0:90->90/tcp, :::90->90/tcp, 0.0.0.0:8080->80/tcp, 0.0.0.0:8081->80/tcp, "
            ":::8080->80/tcp, :::8081->80/tcp",
        ),
        (
            {"53/tcp": both(7000), "53/udp": both(6000)},
            "0.0.0.0:6000->53/udp, 0.0.0.0:7000->53/tcp, :::6000->53/udp, :::7000->53/tcp",
        ),
    ],
)
def test_the_column_of_ps(ports, text):
    assert port.listed(ports) == text
