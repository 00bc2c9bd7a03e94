"""`diff`: what a container has added, changed and deleted, and what it has only touched."""

from __future__ import annotations

import pytest

#: A bit of everything that an upper directory can hold, and what Docker says of it (overlay2, Docker 20.10).
SCRIPT = r"""
echo x > /tmp/new; rm /etc/motd; chmod 700 /srv; chown 5:5 /etc/passwd; touch -d 2001-01-01 /etc/shells
rm -rf /etc/apk; mkdir /etc/apk; echo n > /etc/apk/new          # an opaque directory
rm -rf /media; echo f > /media                                  # a file in a directory's place
rm /etc/issue; mkdir /etc/issue; touch /etc/issue/in            # and the other way round
ln /etc/services /etc/second-name                               # copied up, not changed
mkdir -p /opt/a/b; echo 1 > /opt/a/b/f; ln /opt/a/b/f /opt/a/g; mkfifo /opt/fifo; ln -s nowhere /opt/link
rm -rf /usr/share/apk; rm -rf /var/spool/cron; ln -s /tmp /var/spool/cron
mkdir /made; mv /made /moved; mkdir -p /opt/gone/x; rm -r /opt/gone
echo y >> /dev/shm/x; : >> /etc/hosts                           # mounts, not the container's own files
"""
DIFF = """\
C /etc
C /etc/apk
A /etc/apk/new
D /etc/apk/{}
C /etc/issue
A /etc/issue/in
C /etc/passwd
A /etc/second-name
C /etc/shells
D /etc/motd
C /media
A /moved
C /opt
A /opt/a
A /opt/a/b
A /opt/a/b/f
A /opt/a/g
A /opt/fifo
A /opt/link
C /srv
C /tmp
A /tmp/new
C /usr
C /usr/share
D /usr/share/apk
C /var
C /var/spool
C /var/spool/cron"""


def test_every_kind_of_change(minirun):
    container = minirun.begin("alpine", "sleep", "100")
    deleted = container.sh("ls /etc/apk").split()
    container.sh(SCRIPT)
    assert len(deleted) > 1
    assert minirun.ok("diff", "c1") == DIFF.replace("D /etc/apk/{}", "\n".join(f"D /etc/apk/{x}" for x in deleted))
    assert minirun.ok("container", "diff", container.id[:12]) == minirun.ok("diff", "/c1")


@pytest.mark.parametrize(
    "script",
    [
        "true",
        "touch /x; rm /x",
        "mkdir -p /usr/x/y; rm -r /usr/x",
        "cat /etc/passwd",
        "touch -c /usr",
        "chmod 700 /srv; chmod 755 /srv",
        ": >> /etc/passwd",
        "ln /etc/services /x; rm /x",
        "echo > /dev/shm/x",
    ],
)
def test_what_is_no_change(minirun, script):
    minirun.ok("run", "--name", "c1", "alpine", "sh", "-c", script)
    assert minirun.ok("diff", "c1") == ""


def test_a_directory_that_was_replaced_by_its_equal(minirun):
    """All of it is in the upper directory, which is opaque; none of it has changed but what is missing."""
    minirun.ok(
        "run",
        "--name",
        "c1",
        "alpine",
        "sh",
        "-c",
        "mkdir /tmp/copy; cp -a /etc/apk/. /tmp/copy; rm -rf /etc/apk; rm /tmp/copy/world; "
        "mv /tmp/copy /etc/apk; chmod 755 /etc/apk",
    )
    assert minirun.ok("diff", "c1") == "C /etc\nC /etc/apk\nD /etc/apk/world"


def test_mount_points_that_were_made(minirun, tmp_path):
    (tmp_path / "file").touch()
    minirun.ok("run", "--name", "c1", "-v", f"{tmp_path}/file:/vol/file", "-v", f"{tmp_path}:/dir", "alpine", "true")
    assert minirun.ok("diff", "c1") == "A /dir\nA /vol\nA /vol/file"


def test_a_tree_of_a_thousand_levels_and_a_name_that_is_no_text(minirun):
    minirun.ok(
        "run",
        "--name",
        "c1",
        "alpine",
        "sh",
        "-c",
        "cd /opt; i=0; while [ $i -lt 1000 ]; do mkdir d; cd d; i=$((i+1)); done; touch \"$(printf 'a\\377')\"",
    )
    lines = minirun.raw("diff", "c1").splitlines()
    assert lines[0] == b"C /opt"
    assert lines[-1] == b"A /opt" + b"/d" * 1000 + b"/a\xff"
    assert len(lines) == 1002


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch"], "Error response from daemon: No such container: nosuch\n"),
        ([""], "Container name cannot be empty\n"),
    ],
)
def test_errors(minirun, words, text):
    result = minirun("diff", *words)
    assert (result.code, result.out, result.err) == (1, "", text)
