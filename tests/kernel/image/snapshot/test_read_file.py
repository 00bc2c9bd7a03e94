"""Files found through a pile of layers by hand, against what overlayfs itself shows of the same pile."""

import os
import subprocess
import sys

import pytest

from minirun.errors import MinirunError
from minirun.image.snapshot.read_file import read_file

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are device nodes: only root can make them")


class Pile:
    """Upper directory and layers; `write("1/etc/passwd", "x")` writes into directory 1 (0 is the upper one)."""

    def __init__(self, base, count=3):
        self.base = base
        self.directories = [str(base / str(number)) for number in range(count)]
        for directory in [*self.directories, str(base / "work"), str(base / "merged")]:
            os.mkdir(directory)

    def write(self, path, text):
        os.makedirs((self.base / path).parent, exist_ok=True)
        (self.base / path).write_text(text)

    def link(self, path, target):
        os.makedirs((self.base / path).parent, exist_ok=True)
        os.symlink(target, self.base / path)

    def whiteout(self, path):
        os.makedirs((self.base / path).parent, exist_ok=True)
        os.mknod(self.base / path, 0o020000, 0)

    def opaque(self, path):
        os.makedirs(self.base / path, exist_ok=True)
        os.setxattr(self.base / path, "trusted.overlay.opaque", b"y")

    def shown(self, path):
        """What the kernel shows: the content, or None. Links are followed within the merged root, by chroot."""
        upper, *lower = self.directories
        options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={self.base}/work"
        script = (
            f"mount -t overlay o -o {options} {self.base}/merged && exec {sys.executable} -IS -c '"
            f'import os,sys; os.chroot("{self.base}/merged"); os.chdir("/"); path = sys.argv[1]; '
            f'sys.stdout.write(open(path).read() if os.path.isfile(path) else "<none>")\' "/{path}"'
        )
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True)
        return None if done.stdout == "<none>" else done.stdout.encode()


@pytest.fixture
def stack(tmp_path):
    return Pile(tmp_path)


def lowest(stack):
    stack.write("2/etc/passwd", "lowest")


def upper_wins(stack):
    lowest(stack)
    stack.write("0/etc/passwd", "upper")


def deleted(stack):
    lowest(stack)
    stack.whiteout("1/etc/passwd")


def deleted_and_made_again(stack):
    deleted(stack)
    stack.write("0/etc/passwd", "again")


def directory_deleted(stack):
    lowest(stack)
    stack.whiteout("1/etc")


def opaque(stack):
    lowest(stack)
    stack.opaque("1/etc")


def opaque_with_file(stack):
    opaque(stack)
    stack.write("1/etc/passwd", "middle")


def opaque_above_hides_nothing_of_itself(stack):
    stack.write("0/etc/passwd", "upper")
    opaque(stack)


def file_over_directory(stack):
    lowest(stack)
    stack.write("1/etc", "a file")


def directory_over_file(stack):
    lowest(stack)
    os.makedirs(stack.base / "0/etc/passwd")


def link_to_another_layer(stack):
    stack.link("1/etc/passwd", "../run/users/passwd")
    stack.write("2/run/users/passwd", "through a link")


def absolute_link(stack):
    stack.link("2/etc/passwd", "/usr/passwd")
    stack.write("0/usr/passwd", "absolute")


def link_out_of_the_image(stack):
    stack.write("etc-of-the-host", "secret")
    stack.link("2/etc/passwd", "../../../../../../../.." + str(stack.base / "etc-of-the-host"))


def directory_is_a_link(stack):
    stack.link("1/etc", "conf/./")
    stack.write("2/etc/passwd", "hidden by the link")
    stack.write("2/conf/passwd", "behind the link")


def up_through_a_link(stack):
    """ ".." after a link means the parent of where the link leads, not of where it lies."""
    stack.link("2/etc/passwd", "deep/../passwd2")
    stack.link("2/etc/deep", "/a/b")
    stack.write("2/a/b/x", "")
    stack.write("1/a/passwd2", "the parent of the target")
    stack.write("1/etc/passwd2", "the parent of the link")


def link_to_nothing(stack):
    stack.link("2/etc/passwd", "/gone/../etc/real")
    stack.write("2/etc/real", "the kernel does not go through what is not there")


def circle(stack):
    stack.link("2/etc/passwd", "passwd")


def fifo(stack):
    os.makedirs(stack.base / "1/etc")
    os.mkfifo(stack.base / "1/etc/passwd")


CASES = [
    lowest,
    upper_wins,
    deleted,
    deleted_and_made_again,
    directory_deleted,
    opaque,
    opaque_with_file,
    opaque_above_hides_nothing_of_itself,
    file_over_directory,
    directory_over_file,
    link_to_another_layer,
    absolute_link,
    link_out_of_the_image,
    directory_is_a_link,
    up_through_a_link,
    link_to_nothing,
    fifo,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_overlayfs_shows_it(stack, case):
    case(stack)
    expected = stack.shown("etc/passwd")
    assert read_file(stack.directories, "etc/passwd") == expected
    assert expected in (
        None,
        b"lowest",
        b"upper",
        b"again",
        b"middle",
        b"through a link",
        b"absolute",
        b"behind the link",
        b"the parent of the target",
    )  # the oracle itself saw what was meant


def test_no_descriptor_is_left_open(stack):
    link_to_another_layer(stack)
    before = os.listdir("/proc/self/fd")
    read_file(stack.directories, "etc/passwd")
    read_file(stack.directories, "no/such/file")
    assert os.listdir("/proc/self/fd") == before


def test_links_in_a_circle(stack):
    circle(stack)
    with pytest.raises(MinirunError, match="too many symbolic links"):
        read_file(stack.directories, "etc/passwd")


def test_a_file_too_large_to_be_true(stack):
    lowest(stack)
    os.truncate(stack.base / "2/etc/passwd", 9 << 20)
    with pytest.raises(MinirunError, match="larger than 8 MiB"):
        read_file(stack.directories, "etc/passwd")


def test_directories_that_do_not_exist_are_empty(stack):
    lowest(stack)
    assert read_file(["/no/such/directory", *stack.directories], "etc/passwd") == b"lowest"
    assert read_file([], "etc/passwd") is None
