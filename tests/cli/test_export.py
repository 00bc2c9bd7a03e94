"""`export`: a container's whole root as a tar, running or not."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest


def exported(minirun) -> dict[str, tarfile.TarInfo]:
    """The entries of the export of container c1, in their order."""
    with tarfile.open(fileobj=io.BytesIO(minirun.raw("export", "c1"))) as tar:
        return {entry.name: entry for entry in tar}


def test_the_root_of_a_container(minirun, host):
    container = minirun.begin("alpine", "sleep", "100")
    container.sh("rm -r /etc/apk /etc/motd; mkdir /etc/apk; echo n > /etc/apk/new; echo x > /dev/shm/x")
    entries = exported(minirun)
    assert next(iter(entries)) == ".dockerenv"
    assert [name for name in entries if name.startswith("etc/apk")] == ["etc/apk", "etc/apk/new"]
    assert not {"etc/motd", "", ".", "dev/shm/x", "proc/1", "dev/null"} & set(entries)
    for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"):  # without what is mounted there
        assert (entries[name].size, entries[name].isreg()) == (0, True)
    assert all(entries[name].isdir() for name in ("dev/pts", "dev/shm", "proc", "sys", "tmp"))
    shown = container.sh("cd /; find bin etc lib sbin usr var -xdev").split("\n")
    assert set(shown) == {name for name in entries if name.split("/")[0] in shown[0:1] + "etc lib sbin usr var".split()}
    minirun.ok("stop", "-t", "0", "c1")
    again = exported(minirun)
    assert list(again) == list(entries)


def test_all_kinds_of_files(minirun, host):
    minirun.ok(
        "run",
        "--name",
        "c1",
        "alpine",
        "sh",
        "-c",
        r"""
        cd /opt; echo 1 > first; ln first second; mknod null c 1 3; mknod disk b 7 200; mkfifo fifo; ln -s /nowhere link
        chown 70000:70001 first; chmod 4751 first; touch -d '2001-02-03 04:05:06' first
        truncate -s 3M sparse; touch "$(printf 'a\377')" "$(head -c 200 /dev/zero | tr '\0' n)"
        mkdir deep; chmod 1777 deep""",
    )
    (upper,) = host.data.glob("containers/*/upper")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(upper / "opt/sparse", "security.capability", capability)
    os.setxattr(upper / "opt/deep", "user.note", b"\xff\0x")
    os.setxattr(upper / "opt/deep", "trusted.overlay.opaque", b"y")
    entries = exported(minirun)
    first, null, disk = (entries[f"opt/{name}"] for name in ("first", "null", "disk"))
    assert (first.mode, first.uid, first.gid, first.size, first.mtime) == (0o4751, 70000, 70001, 2, 981173106)
    assert (entries["opt/second"].islnk(), entries["opt/second"].linkname) == (True, "opt/first")
    assert (null.ischr(), null.devmajor, null.devminor) == (True, 1, 3)
    assert (disk.isblk(), disk.devmajor, disk.devminor) == (True, 7, 200)
    assert entries["opt/fifo"].isfifo()
    assert (entries["opt/link"].issym(), entries["opt/link"].linkname) == (True, "/nowhere")
    assert entries["opt/sparse"].size == 3 << 20
    assert {"opt/a\udcff", "opt/" + "n" * 200} <= set(entries)
    assert entries["opt/deep"].mode == 0o1777
    for name, kept in (("opt/sparse", {"security.capability": capability}), ("opt/deep", {"user.note": b"\xff\0x"})):
        headers = entries[name].pax_headers
        assert {
            key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
            for key, value in headers.items()
            if key.startswith("SCHILY")
        } == kept


def test_what_is_exported_can_be_imported(minirun, tmp_path):
    minirun.ok("run", "--name", "c1", "alpine", "sh", "-c", "echo kept > /mark; rm /etc/motd")
    archive = tmp_path / "root.tar"
    assert minirun.ok("export", "-o", str(archive), "c1") == ""
    assert archive.stat().st_mode & 0o777 == 0o600
    minirun.ok("import", str(archive), "again")
    assert minirun.ok("run", "--rm", "again", "sh", "-c", "cat /mark; [ -e /etc/motd ] || echo gone") == "kept\ngone"
    assert [path.name for path in tmp_path.iterdir()] == ["root.tar"]


def test_an_archive_may_be_appended_to_a_file(minirun, host):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    command = " ".join(minirun.words)
    script = f"echo head > /run/out; {command} export c1 >> /run/out; tail -c +6 /run/out | tar t | wc -l; rm /run/out"
    assert int(host.run("sh", "-ec", script, check=True).stdout) == len(exported(minirun))


def test_a_reader_who_has_seen_enough(minirun, host):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    command = " ".join(minirun.words)
    done = host.run("bash", "-c", f"{command} export c1 | head -c 9 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch"], "Error response from daemon: No such container: nosuch"),
        (["-o", "/nope/x", "c1"], 'failed to export container: invalid output path: directory "/nope" does not exist'),
        (
            ["-o", "/dev/null", "c1"],
            'failed to export container: invalid output path: "/dev/null" must be a directory or a '
            "regular file: got a device",
        ),
        (["-o", "/run", "c1"], 'failed to export container: invalid output path: "/run" is a directory'),
        (["-o", "/run/x", "nosuch"], "Error response from daemon: No such container: nosuch"),
    ],
)
def test_errors(minirun, host, words, text):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    result = minirun("export", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")
    assert not Path(f"/proc/{host.pid}/root/run/x").exists()


def test_a_terminal_is_not_written_to(minirun, host):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    command = f"{' '.join(minirun.words)} export c1"
    done = host.run("script", "-eqc", command, "/dev/null")
    assert (done.returncode, done.stdout.strip()) == (
        1,
        "cowardly refusing to save to a terminal. Use the -o flag or redirect",
    )


def test_a_full_disk(minirun, host):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    host.run("sh", "-ec", "mkdir /run/small; mount -t tmpfs -o size=1m tmpfs /run/small", check=True)
    result = minirun("export", "-o", "/run/small/x", "c1")
    assert (result.code, result.out) == (1, "")
    assert "no space left on device" in result.err.splitlines()[0]
    assert host.run("ls", "-A", "/run/small").stdout == ""
    host.run("sh", "-ec", "umount /run/small; rmdir /run/small", check=True)
