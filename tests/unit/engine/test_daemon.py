"""Where things are: flag, environment, config file, default; the first that says something holds."""

import posix

import pytest

from minirun.engine.daemon import Daemon
from minirun.errors import MinirunError


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setitem(posix.environ, b"MINIRUN_CONFIG", b"")
    monkeypatch.delitem(posix.environ, b"MINIRUN_ROOT", raising=False)  # what Python began with, not os.environ
    monkeypatch.delitem(posix.environ, b"MINIRUN_EXEC_ROOT", raising=False)


def roots(*flags, config):
    daemon = Daemon(*flags, config_file=config)
    return daemon.data_root, daemon.exec_root


def test_the_defaults(tmp_path):
    assert roots(config=str(tmp_path / "none")) == ("/var/lib/minirun", "/run/minirun")


def test_the_order(tmp_path, monkeypatch):
    config = tmp_path / "config.json"
    config.write_text('{"data-root": "/c/data", "exec-root": "/c/run", "other": 1}')
    assert roots(config=str(config)) == ("/c/data", "/c/run")
    monkeypatch.setitem(posix.environ, b"MINIRUN_ROOT", b"/e/data")
    assert roots(config=str(config)) == ("/e/data", "/c/run")
    monkeypatch.setitem(posix.environ, b"MINIRUN_EXEC_ROOT", b"/e/run/")
    assert roots("/f/data", config=str(config)) == ("/f/data", "/e/run")
    assert roots("", "/f/run", config=str(config)) == ("/e/data", "/f/run")


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert roots("x", "../y", config="none") == (str(tmp_path / "x"), str(tmp_path.parent / "y"))


@pytest.mark.parametrize("text", ["{", "[]", '{"data-root": 3}'])
def test_a_damaged_file_is_named(tmp_path, text):
    config = tmp_path / "config.json"
    config.write_text(text)
    with pytest.raises(MinirunError, match=str(config)):
        roots(config=str(config))
