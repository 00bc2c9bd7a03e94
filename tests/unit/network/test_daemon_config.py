"""The config file: dockerd's keys, dockerd's defaults, and no key that is passed over in silence."""

from __future__ import annotations

import posix

import pytest

from minirun.engine.daemon import Daemon
from minirun.errors import MinirunError
from minirun.network.daemon_config import KEYS, Settings


def test_the_defaults_are_dockerds():
    settings = Settings.of({})
    assert (settings.mtu, settings.icc, settings.userland_proxy, settings.ip_masq, settings.iptables) == (
        1500,
        True,
        True,
        True,
        True,
    )
    assert (settings.bip, settings.ipv6, settings.ip, settings.given) == ("", False, "0.0.0.0", {})


def test_every_key_is_an_attribute():
    given = {key: {str: "x", list: [], bool: True, int: 9}[kind] for key, (_, kind, _) in KEYS.items()}
    settings = Settings.of(given | {"data-root": "/x"})
    assert settings.given == given
    assert {getattr(settings, name) for _, (name, kind, _) in KEYS.items() if kind is str} == {"x"}


def test_pools():
    settings = Settings.of({"default-address-pools": [{"base": "10.50.0.0/16", "size": 24}]})
    assert settings.default_address_pools == [("10.50.0.0/16", 24)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"bipp": "x", "hosts": []}, "the following directives don't match any configuration option: bipp, hosts"),
        ({"mtu": "1500"}, "mtu: expected a number"),
        ({"mtu": True}, "mtu: expected a number"),
        ({"max-image-size": "1TB"}, "max-image-size: expected a number"),
        ({"max-image-size": -1}, "invalid max-image-size: -1"),
        ({"max-image-files": 1.5}, "max-image-files: expected a number"),
        ({"icc": 1}, "icc: expected true or false"),
        ({"dns": ["192.0.2.1", 3]}, "dns: expected a list of strings"),
        ({"default-address-pools": [{"base": "10.0.0.0/8"}]}, "default-address-pools: expected a list like "),
    ],
)
def test_what_makes_no_sense_is_refused(data, text):
    with pytest.raises(MinirunError) as caught:
        Settings.of(data)
    assert str(caught.value).startswith(text)


def test_the_file_is_named_in_the_error(tmp_path, monkeypatch):
    config = tmp_path / "config.json"
    config.write_text('{"mtu": "x"}')
    monkeypatch.setitem(posix.environ, b"MINIRUN_CONFIG", str(config).encode())
    daemon = Daemon("/DATA", "/RUN")
    with pytest.raises(MinirunError, match=f"^{config}: mtu: expected a number$"):
        _ = daemon.settings
