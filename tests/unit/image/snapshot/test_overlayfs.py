"""The words for a container's overlay, and the placeholders under it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from minirun.errors import MinirunError
from minirun.image.snapshot import overlayfs


@pytest.fixture
def image(tmp_path: Path) -> list[str]:
    """Two layers of an image that has /etc and /proc, lowest first."""
    for name in ("one", "two"):
        (tmp_path / "layers" / name).mkdir(parents=True)
    (tmp_path / "layers/one/etc").mkdir()
    (tmp_path / "layers/one/etc/hosts").write_text("127.0.0.1 from-the-image\n")
    (tmp_path / "layers/one/proc").mkdir(mode=0o555)
    return [str(tmp_path / "layers" / name) for name in ("one", "two")]


@pytest.fixture
def container(tmp_path: Path) -> str:
    (tmp_path / "c").mkdir()
    return str(tmp_path / "c")


def entries(directory: str) -> set[str]:
    root = Path(directory)
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_the_mount_is_an_oci_mount_with_the_top_layer_first(image: list[str], container: str) -> None:
    one, two = image
    assert overlayfs.mount(image, container) == {
        "destination": "/",
        "type": "overlay",
        "source": "overlay",
        "options": [
            f"lowerdir={two}-init:{two}:{one}",
            f"upperdir={container}/upper",
            f"workdir={container}/work",
            "index=off",
            "metacopy=off",
            "redirect_dir=off",
        ],
    }


def test_only_what_will_be_removed_anyway_is_volatile(image: list[str], container: str) -> None:
    assert "volatile" not in overlayfs.mount(image, container)["options"]
    (Path(container) / "work/work/incompat/volatile").mkdir(parents=True)
    assert overlayfs.mount(image, container, volatile=True)["options"][-1] == "volatile"
    assert not (Path(container) / "work/work/incompat").exists()


def test_the_root_of_the_container_looks_like_the_image_s(image: list[str], container: str) -> None:
    os.chmod(image[1], 0o1751)
    overlayfs.mount(image, container)
    assert stat.S_IMODE(os.stat(f"{container}/upper").st_mode) == 0o1751
    os.chmod(f"{container}/upper", 0o700)  # the container's own chmod of its root
    overlayfs.mount(image, container)
    assert stat.S_IMODE(os.stat(f"{container}/upper").st_mode) == 0o700


def test_placeholders_are_what_the_image_does_not_have(image: list[str]) -> None:
    made = overlayfs.ensure_init_layer(image)
    assert entries(made) == {
        ".dockerenv",
        "dev",
        "dev/pts",
        "dev/shm",
        "dev/console",
        "sys",
        "etc",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/mtab",
    }
    assert os.readlink(f"{made}/etc/mtab") == "/proc/mounts"
    assert Path(made, "etc/hosts").read_bytes() == b""  # Docker hides the image's too
    for path in (".dockerenv", "etc/hosts", "dev/pts", "sys"):
        assert stat.S_IMODE(os.stat(f"{made}/{path}").st_mode) == 0o755


def test_an_image_of_nothing_gets_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made = overlayfs.ensure_init_layer([str(tmp_path / "empty")])
    assert {"proc", "sys", "dev", "etc"} <= entries(made)


def test_directories_keep_the_looks_that_the_image_gave_them(image: list[str]) -> None:
    os.chmod(f"{image[0]}/etc", 0o2710)
    os.utime(f"{image[0]}/etc", (1_000_000, 1_000_000))
    made = overlayfs.ensure_init_layer(image)
    lstat = os.stat(f"{made}/etc")
    assert (stat.S_IMODE(lstat.st_mode), lstat.st_mtime) == (0o2710, 1_000_000)


def test_links_in_the_image_lead_no_mount_astray(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "dev").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("etc", "proc", "dev/shm"):
        (layer / name).symlink_to(outside)
    (layer / "sys").write_text("a file")
    made = Path(overlayfs.ensure_init_layer([str(layer)]))
    for name in ("etc", "proc", "dev/shm", "sys"):
        assert stat.S_ISDIR(os.lstat(made / name).st_mode)
    assert entries(str(outside)) == set()


def test_a_directory_in_place_of_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "layer/etc/hosts").mkdir(parents=True)
    made = overlayfs.ensure_init_layer([str(tmp_path / "layer")])
    assert "etc/hosts" not in entries(made)
    assert "etc/hostname" in entries(made)


def test_the_placeholders_are_made_once(image: list[str], container: str) -> None:
    made = overlayfs.ensure_init_layer(image)
    before = os.stat(made).st_ino
    overlayfs.mount(image, container)
    assert os.stat(made).st_ino == before
    assert sorted(os.listdir(os.path.dirname(made))) == ["one", "two", "two-init"]


def test_the_upper_layer_hides_the_lower_ones(image: list[str]) -> None:
    stack = list(reversed(image))
    Path(image[1], "etc").write_text("now a file")
    assert stat.S_ISREG(overlayfs.lstat(stack, (b"etc",)).st_mode)
    assert overlayfs.lstat(stack, (b"etc", b"hosts")) is None
    assert overlayfs.lstat(stack, (b"nothing",)) is None
    assert stat.S_ISDIR(overlayfs.lstat(stack, (b"proc",)).st_mode)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/minirun", "/var/lib/minirun"),
        ("/a:b", "/a\\:b"),
        ("/a,b", "/a\\,b"),
        ("/a\\b", "/a\\\\b"),
        ("/ä b", "/ä b"),
    ],
)
def test_what_parts_options_is_escaped(path: str, expected: str) -> None:
    assert overlayfs.escape(path) == expected


def test_more_layers_than_one_mount_takes_are_refused_in_words(container: str) -> None:
    with pytest.raises(MinirunError, match="127 layers"):
        overlayfs.options([f"/var/lib/minirun/images/layers/{number:064x}" for number in range(127)], container)


def test_an_image_without_layers_is_refused(container: str) -> None:
    with pytest.raises(MinirunError, match="no layers"):
        overlayfs.mount([], container)


def test_a_start_that_was_cut_short_is_completed(image: list[str], container: str) -> None:
    os.mkdir(f"{container}/upper")
    overlayfs.mount(image, container)
    assert os.path.isdir(f"{container}/work")


def test_removing_twice_is_fine(image: list[str], container: str) -> None:
    overlayfs.mount(image, container)
    Path(container, "upper/file").write_text("x")
    overlayfs.remove(container)
    overlayfs.remove(container)
    assert os.listdir(container) == []
    assert os.path.exists(f"{image[0]}/etc/hosts")
