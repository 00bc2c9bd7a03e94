"""What a container writes, and what of the host it sees: the writable layer, binds, tmpfs, the files in /etc."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# ---- the writable layer ----------------------------------------------------------------------------------------


def test_the_writable_layer_survives_stop_and_dies_with_rm(minirun, host):
    container = minirun.begin("alpine", "sh", "-c", "cat /mark; echo seen; exec sleep 100")
    container.sh("echo written > /mark; rm /etc/motd 2>/dev/null; chmod 700 /srv")
    minirun.ok("stop", "-t", "0", "c1")
    upper = list((host.data / "containers" / container.id).rglob("mark"))
    assert [path.read_text() for path in upper] == ["written\n"]
    minirun.ok("start", "c1")
    assert container.sh("cat /mark; stat -c %a /srv; ls /etc/motd 2>&1 | grep -c 'No such'") == "written\n700\n1"
    minirun.ok("rm", "-f", "c1")
    assert list(host.data.rglob("mark")) == []


def test_the_image_stays_as_it_is(minirun):
    minirun.sh("echo x > /etc/alpine-release; rm -rf /usr /var; mkdir /new")
    assert (
        minirun.sh(
            "ls -d /usr /var; ls -d /new 2>/dev/null; grep -c . /etc/alpine-release; "
            "grep -c x /etc/alpine-release || true"
        )
        == "/usr\n/var\n1\n0"
    )


def test_two_containers_do_not_see_each_others_files(minirun):
    one, two = minirun.begin("alpine", "sleep", "100", name="w1"), minirun.begin("alpine", "sleep", "100", name="w2")
    one.sh("echo one > /mark")
    two.sh("[ ! -e /mark ]; echo two > /mark")
    assert (one.sh("cat /mark"), two.sh("cat /mark")) == ("one", "two")


def test_the_host_cannot_be_seen_in_the_root(minirun, tmp_path):
    (tmp_path / "here").touch()
    assert minirun("run", "--rm", "alpine", "ls", str(tmp_path)).code != 0
    assert minirun.sh("ls -A /").split() == sorted(
        ".dockerenv bin dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var".split()
    )


def test_dockerenv(minirun):
    assert minirun.sh("stat -c '%a %s' /.dockerenv") == "755 0"


# ---- -v, --mount -----------------------------------------------------------------------------------------------


def test_bind(minirun, tmp_path):
    (tmp_path / "in").write_text("from the host\n")
    out = minirun.sh("cat /v/in; echo from-inside > /v/out; grep ' /v ' /proc/self/mountinfo", "-v", f"{tmp_path}:/v")
    assert out.startswith("from the host\n")
    assert (tmp_path / "out").read_text() == "from-inside\n"
    assert re.search(r" /v rw,relatime - ", out)  # private: no "master:", no "shared:"


def test_bind_of_a_file(minirun, tmp_path):
    (tmp_path / "f").write_text("x\n")
    assert minirun.sh("cat /etc/deep/f; ls /etc/deep", "-v", f"{tmp_path}/f:/etc/deep/f") == "x\nf"


@pytest.mark.parametrize(
    "options",
    [
        ["-v", "{}:/v:ro"],
        ["--mount", "type=bind,src={},dst=/v,readonly"],
        ["--mount", "type=bind,source={},target=/v,ro"],
    ],
)
def test_read_only_bind(minirun, tmp_path, options):
    options = [option.format(tmp_path) for option in options]
    result = minirun("run", "--rm", *options, "alpine", "sh", "-c", "touch /v/x")
    assert "Read-only file system" in result.err
    assert list(tmp_path.iterdir()) == []
    assert re.search(r" /v ro,relatime - ", minirun.sh("grep ' /v ' /proc/self/mountinfo", *options))


def test_bind_hides_what_the_image_has(minirun, tmp_path):
    assert minirun.sh("ls -A /etc", "--mount", f"type=bind,src={tmp_path},dst=/etc").split() == [
        "hostname",
        "hosts",
        "resolv.conf",
    ]


def test_missing_source_of_v_is_made(minirun, tmp_path):
    minirun.sh("touch /v/x", "-v", f"{tmp_path}/missing/deep:/v")
    assert (tmp_path / "missing" / "deep" / "x").exists()
    assert (tmp_path / "missing").stat().st_mode & 0o777 == 0o755


def test_missing_source_of_mount_is_refused(minirun, host, tmp_path):
    result = minirun("run", "--rm", "--mount", f"type=bind,src={tmp_path}/nope,dst=/v", "alpine", "true")
    assert (result.err, result.code) == (
        'minirun: Error response from daemon: invalid mount config for type "bind": bind source path does not exist: '
        f"{tmp_path}/nope.\nSee 'minirun run --help'.\n",
        125,
    )
    assert not (tmp_path / "nope").exists()
    host.assert_clean()


def test_bind_through_a_link_of_the_image_stays_inside(minirun, tmp_path):
    """/etc/trap → a host path: what is mounted there must land in the container's own root, never on the host's."""
    (tmp_path / "source").mkdir()
    (tmp_path / "victim").mkdir()
    minirun("run", "--name", "w1", "alpine", "ln", "-s", str(tmp_path / "victim"), "/trap")
    # the next start of the same container finds the link that its program has made
    minirun.begin("-v", f"{tmp_path}/source:/trap", "alpine", "sh", "-c", "touch /trap/x; sleep 100", name="w2")
    assert list((tmp_path / "victim").iterdir()) == []


def test_bind_into_a_hostile_root(minirun, host, tmp_path):
    """A container that has made its own mount points links to the host is started again."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "source").mkdir()
    container_id = minirun.ok(
        "create",
        "--name",
        "w1",
        "-v",
        f"{tmp_path}/source:/data",
        "alpine",
        "sh",
        "-c",
        "umount /data 2>/dev/null; touch /data/x; rm -rf /srv/d /etc/hosts; ln -s "
        f"/../../../../..{tmp_path}/victim /srv/d",
    )
    minirun("start", "-a", "w1")
    link = host.data / "containers" / container_id
    uppers = list(link.rglob("srv"))
    assert uppers
    data = uppers[0].parent / "data"
    if data.is_dir() and not data.is_symlink():
        data.rmdir()
    data.symlink_to(tmp_path / "victim")
    minirun("start", "-a", "w1")
    assert list((tmp_path / "victim").iterdir()) == []


def test_mounts_below_the_source_come_along(minirun, host, tmp_path):
    (tmp_path / "sub").mkdir()
    host.run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "sub"), check=True)
    host.run("touch", str(tmp_path / "sub" / "deep"), check=True)
    try:
        assert minirun.sh("ls /v/sub", "-v", f"{tmp_path}:/v") == "deep"
    finally:
        host.run("umount", str(tmp_path / "sub"), check=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-v", "{}:/proc"], "is not of type proc"),
        (["--tmpfs", "/proc"], "is not of type proc"),
        (["-v", "{}:/proc/sys"], "is inside /proc"),
        (["-v", "/proc/sys/net"], "is inside /proc"),
        (["--mount", "type=tmpfs,dst=/to-proc/sys"], "is inside /proc"),
    ],
)
def test_nothing_takes_the_place_of_proc(minirun, tmp_path, options, why):
    """An image may have a VOLUME there, too, and we write sysctls."""
    minirun.ok("run", "--name", "w1", "alpine", "ln", "-s", "/proc", "/to-proc")
    minirun.ok("commit", "w1", "linked")
    result = minirun("run", "--rm", *(word.format(tmp_path) for word in options), "linked", "true")
    minirun.ok("rmi", "linked")
    assert result.code == 125 and result.err.endswith(f"cannot be mounted because it {why}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_proc_may_be_another_one(minirun, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert minirun.sh("cat /proc/meminfo", "-v", f"{tmp_path}/meminfo:/proc/meminfo") == "MemTotal: 1 kB"


# ---- tmpfs, --read-only ----------------------------------------------------------------------------------------


def test_tmpfs(minirun):
    out = minirun.sh("grep ' /t ' /proc/self/mountinfo; stat -c %a /t; touch /t/x && ls /t", "--tmpfs", "/t")
    assert re.search(r" /t rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw", out)
    assert out.split("\n")[1:] == ["1777", "x"]


def test_tmpfs_over_a_directory_has_its_mode(minirun):
    """Else /root, say, would be open to everybody."""
    options = ["--tmpfs", "/root", "--tmpfs", "/srv:mode=711", "--mount", "type=tmpfs,dst=/opt"]
    assert minirun.sh("stat -c '%n %a' /root /srv /opt", *options) == "/root 700\n/srv 711\n/opt 755"


def test_tmpfs_options(minirun):
    out = minirun.sh(
        "grep ' /t ' /proc/self/mountinfo; stat -c '%a %u' /t", "--tmpfs", "/t:size=1m,mode=1770,exec,uid=5"
    )
    assert re.search(r" /t rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=1024k,mode=1770,uid=5", out)
    assert out.endswith("1770 5")
    out = minirun.sh("grep ' /t ' /proc/self/mountinfo", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m")
    assert re.search(r" /t rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=1024k", out)


def test_tmpfs_is_empty_at_the_next_start(minirun):
    minirun("run", "--name", "w1", "--tmpfs", "/t", "alpine", "sh", "-c", "ls -A /t | wc -l; touch /t/x")
    minirun.ok("start", "-a", "w1")
    assert minirun.ok("logs", "w1").split() == ["0", "0"]


def test_read_only_root(minirun):
    script = (
        "for d in / /tmp /run /etc /dev /dev/shm; do touch $d/x 2>/dev/null && echo $d; done; "
        "for f in hosts hostname resolv.conf; do echo >> /etc/$f && echo $f; done; true"
    )
    result = minirun("run", "--rm", "--read-only", "alpine", "sh", "-c", script)
    assert result.out.split() == ["/dev", "/dev/shm"]
    assert result.err.count("Read-only file system") == 3
    assert re.search(r"^\S+ \S+ \S+ / / ro,relatime ", minirun.sh("cat /proc/self/mountinfo", "--read-only"), re.M)


def test_read_only_root_with_a_place_to_write(minirun, tmp_path):
    assert (
        minirun.sh(
            "echo x > /tmp/x; echo y > /v/y; cat /tmp/x", "--read-only", "--tmpfs", "/tmp", "-v", f"{tmp_path}:/v"
        )
        == "x"
    )
    assert (tmp_path / "y").read_text() == "y\n"


# ---- the three files in /etc -----------------------------------------------------------------------------------


def test_hosts(minirun):
    assert minirun.sh("cat /etc/hosts", "-h", "box", "--add-host", "db:10.0.0.9") == (
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
        "ff00::0\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.0.0.9\tdb\n172.17.0.2\tbox"
    )


def test_the_files_are_mounted_from_the_data_root(minirun, host):
    container = minirun.begin("alpine", "sleep", "100")
    table = Path(f"/proc/{container.pid}/mountinfo").read_text()
    for name in ("hosts", "hostname", "resolv.conf"):
        assert re.search(
            rf" \S*/containers/{container.id}/{re.escape(name)} /etc/{re.escape(name)} rw,relatime - ", table
        )
        assert (host.data / "containers" / container.id / name).stat().st_mode & 0o777 == 0o644
    container.sh("echo 10.0.0.1 mine >> /etc/hosts")
    assert "10.0.0.1 mine" in (host.data / "containers" / container.id / "hosts").read_text()


def resolv_conf(minirun, host, tmp_path, text, *options):
    """What a container gets when the host's file is `text`."""
    (tmp_path / "resolv.conf").write_text(text)
    host.run("mount", "--bind", str(tmp_path / "resolv.conf"), "/etc/resolv.conf", check=True)
    try:
        return minirun.ok("run", "--rm", *options, "alpine", "cat", "/etc/resolv.conf").strip("\n").split("\n")
    finally:
        host.run("umount", "/etc/resolv.conf", check=True)


def test_resolv_conf(minirun, host, tmp_path):
    text = "# c\ndomain d.example\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions timeout:1\n"
    assert resolv_conf(minirun, host, tmp_path, text) == [
        "# c",
        "domain d.example",
        "nameserver 192.0.2.1",
        "options timeout:1",
    ]
    assert resolv_conf(minirun, host, tmp_path, text, "--network", "host") == text.strip().split("\n")


def test_resolv_conf_without_a_usable_server(minirun, host, tmp_path):
    found = resolv_conf(minirun, host, tmp_path, "search lab.example\nnameserver 127.0.0.53\noptions edns0\n")
    assert [line for line in found if line] == [
        "search lab.example",
        "options edns0",
        "nameserver 8.8.8.8",
        "nameserver 8.8.4.4",
    ]


def test_dns_options(minirun, host):
    out = minirun.ok(
        "run",
        "--rm",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "a.example",
        "--dns-option",
        "ndots:3",
        "alpine",
        "cat",
        "/etc/resolv.conf",
    )
    assert sorted(out.split("\n")) == ["nameserver 192.0.2.53", "options ndots:3", "search a.example"]
