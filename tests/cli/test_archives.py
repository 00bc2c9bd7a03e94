"""`save` and `load` as they are typed; the other side is a real Docker, skopeo and umoci."""

from __future__ import annotations

import pytest


@pytest.fixture
def minirun(new_host):
    """The program on a host of its own: what a test does to the images no other test should see."""
    return new_host.minirun


def on_a_terminal(minirun, words: str):
    """Run it with a terminal for all three of its streams; what the terminal showed."""
    line = " ".join((*minirun.words, words))
    return minirun.machine.run("script", "-qec", line, "/dev/null", input="")


# ---- load --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("content", "text"), [
    (b"x" * 2000, "Error processing tar file(exit status 1): archive/tar: invalid tar header"),
    (bytes(2000), "the archive holds no image: it has neither a manifest.json nor an index.json"),
    (None, "open {}: no such file or directory"),
])
def test_load_refuses_in_one_line(minirun, tmp_path, content, text):
    path = tmp_path / "archive"
    if content is not None:
        path.write_bytes(content)
    result = minirun("load", "-i", str(path))
    assert (result.code, result.out, result.err) == (1, "", text.format(path) + "\n")


def test_load_does_not_read_a_directory(minirun, tmp_path):
    result = minirun("load", "-i", str(tmp_path))
    assert (result.code, result.err) == (1, f"read {tmp_path}: is a directory\n")


def test_load_does_not_wait_for_a_terminal(minirun):
    done = on_a_terminal(minirun, "load")
    assert (done.returncode, done.stdout.strip()) == (1, "requested load from stdin, but stdin is empty")
