"""What a container cannot see, reach and do: asked inside it, and of the kernel from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.host import wait_for

SPACES = ("mnt", "pid", "net", "uts", "ipc", "cgroup")
MASKED_DIRECTORIES = ("/proc/asound", "/proc/acpi", "/proc/scsi", "/sys/firmware")
MASKED_FILES = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@pytest.fixture
def sleeper(minirun):
    """A container to look into."""
    return minirun.begin("alpine", "sleep", "1000")


def mountinfo(text):
    """mount point → (root, options, type, source, super options)."""
    found = {}
    for line in text.splitlines():
        left, right = line.split(" - ", 1)
        fields = left.split()
        found[fields[4]] = (fields[3], fields[5], *right.split(" ", 2))
    return found


# ---- namespaces ------------------------------------------------------------------------------------------------


def test_six_namespaces_of_its_own(sleeper, host):
    for word in SPACES:
        assert os.readlink(f"/proc/{sleeper.pid}/ns/{word}") != os.readlink(f"/proc/{host.pid}/ns/{word}"), word
    for word in ("user", "time"):
        assert os.readlink(f"/proc/{sleeper.pid}/ns/{word}") == os.readlink(f"/proc/{host.pid}/ns/{word}"), word


def test_two_containers_share_none(minirun, sleeper):
    other = minirun.begin("alpine", "sleep", "1000", name="c2")
    for word in SPACES:
        assert os.readlink(f"/proc/{sleeper.pid}/ns/{word}") != os.readlink(f"/proc/{other.pid}/ns/{word}"), word


def test_it_sees_its_own_processes_only(sleeper):
    assert sleeper.sh("echo /proc/[0-9]*; exec true").split()[0] == "/proc/1"
    assert len(sleeper.sh("echo /proc/[0-9]*").split()) == 2
    assert sleeper.sh("cat /proc/1/comm") == "sleep"


def test_hostname_is_its_own(minirun, host):
    before = host.run("hostname").stdout
    minirun.ok("run", "--rm", "-h", "elsewhere", "alpine", "hostname")
    assert host.run("hostname").stdout == before


def test_cgroup_namespace_hides_where_it_is(sleeper):
    assert {line.split(":", 2)[2] for line in sleeper.sh("cat /proc/self/cgroup").split("\n")} == {"/"}


@pytest.fixture(scope="session")
def probe(_scratch):
    """A static program that does what a hostile root would try (probe.c), in a directory of its own."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is missing: the program that tries to break out cannot be built")
    place = _scratch / "probe"
    place.mkdir()
    done = subprocess.run(
        ["gcc", "-static", "-O1", "-o", place / "probe", Path(__file__).with_name("probe.c")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"gcc cannot link statically here: {done.stderr}")
    return place


def attempts(text):
    """What was tried → what came of it, in order."""
    return [tuple(line.split(": ", 1)) for line in text.strip().split("\n")]


KEYRINGS = ("session", "process", "thread", "user", "user session", "request")


def test_the_keyring_is_not_ours(minirun, host, probe):
    """Keys belong to no namespace: only a session keyring of its own keeps a container from its caller's keys."""
    if not os.path.exists("/proc/keys"):
        pytest.skip("this kernel has no keys")
    caller = [str(probe / "probe"), "with-key", "a-key-of-the-caller"]
    look = ["keys", "a-key-of-the-caller"]
    outside = dict(attempts(host.run(*caller, str(probe / "probe"), *look, check=True).stdout))
    assert (outside["session"], outside["request"], outside["read by number"]) == ("ok", "ok", "ok")  # the probe works

    options = ["-v", f"{probe}:/probe:ro", "alpine"]
    done = host.run(*caller, *minirun.words, "run", "--rm", *options, "/probe/probe", *look)
    assert done.returncode == 0, done.stderr
    inside = dict(attempts(done.stdout))
    assert {word: inside[word] for word in KEYRINGS} == dict.fromkeys(KEYRINGS, "ENOKEY")
    assert (inside["listed"], "read by number" in inside) == ("0", False)  # /proc/keys is masked

    done = host.run(*caller, *minirun.words, "run", "-d", "--name", "c1", *options, "sleep", "100")
    assert done.returncode == 0, done.stderr
    sessions = [line for line in Path("/proc/keys").read_text().splitlines() if f"_ses.{done.stdout.strip()}" in line]
    assert len(sessions) == 1
    done = host.run(*caller, *minirun.words, "exec", "c1", "/probe/probe", *look)
    assert done.returncode == 0, done.stderr
    inside = dict(attempts(done.stdout))
    assert {word: inside[word] for word in KEYRINGS} == dict.fromkeys(KEYRINGS, "ENOKEY")


# ---- the root --------------------------------------------------------------------------------------------------


def test_its_root_is_not_a_chroot(sleeper, host):
    """After a real pivot_root the first line of its mount table is its root; in a chroot it would be the host's."""
    table = Path(f"/proc/{sleeper.pid}/mountinfo").read_text()
    assert mountinfo(table)["/"][2] == "overlay"
    host_points = set(mountinfo(Path(f"/proc/{host.pid}/mountinfo").read_text()))
    inside = mountinfo(table)
    assert not [
        point
        for point in inside
        if point in host_points and not point.startswith(("/proc", "/sys", "/dev")) and point != "/"
    ]
    # Every mount hangs below the root mount: nothing of the old tree is left.
    numbers = {line.split()[0]: line.split()[1] for line in table.splitlines()}
    roots = [number for number, parent in numbers.items() if parent not in numbers]
    assert len(roots) == 1
    assert [line.split()[4] for line in table.splitlines() if line.split()[0] == roots[0]] == ["/"]


def test_the_old_root_cannot_be_reached(minirun, tmp_path):
    (tmp_path / "secret").write_text("host")
    escape = f"""
        cat /proc/1/root{tmp_path}/secret ../../../../../..{tmp_path}/secret {tmp_path}/secret 2>&1
        mkdir /x; chroot /x true 2>&1
        cd /; mkdir -p /tmp/jail; exec 3</; chroot /tmp/jail /bin/true 2>&1
        ls -d /proc/1/root/. /proc/1/cwd/.
        stat -c '%d:%i' / /proc/1/root/ /.. /../../..
    """
    out = minirun.sh(escape)
    assert "\nhost" not in f"\n{out}"
    assert len(set(out.split("\n")[-4:])) == 1


def test_old_tricks_out_of_a_chroot(minirun, probe):
    """chroot to a lower place with an open directory above it, then climb: leads out of a chroot, not out of this."""
    found = attempts(minirun.ok("run", "--rm", "-v", f"{probe}:/probe:ro", "alpine", "/probe/probe", "climb"))
    assert [result for what, result in found if what in ("chroot", "fchdir", "chdir")] == ["ok"] * 4
    places = [result for what, result in found if what in ("before", "climbed", "by /proc")]
    assert len(places) == 3
    assert len(set(places)) == 1  # the same root each time, and above it nothing
    assert 'NAME="Alpine Linux"' in places[0]
    root, above = places[0].split(" ")[:2]
    assert root == above


def test_ways_out_that_need_rights(minirun, probe):
    found = attempts(minirun.ok("run", "--rm", "-v", f"{probe}:/probe:ro", "alpine", "/probe/probe", "force"))
    refused = ["open_by_handle_at"] * 4 + ["mount", "umount", "pivot_root", "unshare", "setns"]
    assert found[:9] == [(what, "EPERM") for what in refused]
    if found[9:]:  # the machine lets anybody have a user namespace
        assert [result for _, result in found[9:12]] == ["EINVAL", "EINVAL", "EPERM"]
        assert "Alpine" in found[12][1]


def host_mounts(host):
    """The host's mount table without the names of network namespaces, which `ip netns` keeps there."""
    return [line for line in host.mounts() if not re.search(r" /run/netns/\S+ .* - nsfs ", line)]


def test_host_mounts_stay_as_they_are(minirun, host):
    before = host_mounts(host)
    for number in range(5):
        minirun.begin("alpine", "sleep", "100", name=f"w{number}")
    assert host_mounts(host) == before


def test_mounts_inside_do_not_come_out(minirun, host):
    before = host_mounts(host)
    container = minirun.begin("--tmpfs", "/t", "alpine", "sleep", "100")
    assert " /t " in Path(f"/proc/{container.pid}/mountinfo").read_text()
    assert host_mounts(host) == before


def test_mount_table_is_dockers(sleeper):
    found = mountinfo(sleeper.sh("cat /proc/self/mountinfo"))
    wanted = {
        "/proc": ("rw,nosuid,nodev,noexec,relatime", "proc"),
        "/dev": ("rw,nosuid", "tmpfs"),
        "/dev/pts": ("rw,nosuid,noexec,relatime", "devpts"),
        "/sys": ("ro,nosuid,nodev,noexec,relatime", "sysfs"),
        "/dev/mqueue": ("rw,nosuid,nodev,noexec,relatime", "mqueue"),
        "/dev/shm": ("rw,nosuid,nodev,noexec,relatime", "tmpfs"),
        "/proc/sys": ("ro,nosuid,nodev,noexec,relatime", "proc"),
        "/proc/bus": ("ro,nosuid,nodev,noexec,relatime", "proc"),
        "/": ("rw,relatime", "overlay"),
    }
    for point, (options, kind) in wanted.items():
        assert (found[point][1], found[point][2]) == (options, kind), point
    for name in ("resolv.conf", "hostname", "hosts"):
        assert found[f"/etc/{name}"][1] == "rw,relatime"
    assert "size=65536k" in found["/dev"][4]
    assert found["/dev/pts"][4] == "rw,gid=5,mode=620,ptmxmode=666"


def test_its_root_gets_what_the_host_mounts_later(sleeper):
    """Docker's root is a slave mount; binds are private."""
    lines = Path(f"/proc/{sleeper.pid}/mountinfo").read_text().splitlines()
    root = next(line for line in lines if line.split()[4] == "/")
    assert "shared:" not in root


# ---- masked and read-only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MASKED_FILES)
def test_masked_file(sleeper, path):
    if not os.path.exists(path):
        pytest.skip("this kernel has no such file")
    assert sleeper.sh(f"stat -c '%t,%T' {path}; head -c 10 {path} | wc -c") == "1,3\n0"


@pytest.mark.parametrize("path", MASKED_DIRECTORIES)
def test_masked_directory(sleeper, path):
    if not os.path.exists(path):
        pytest.skip("this kernel has no such directory")
    assert sleeper.sh(f"ls -A {path} | wc -l; touch {path}/x 2>&1 | grep -c 'Read-only'") == "0\n1"


@pytest.mark.parametrize("path", READ_ONLY)
def test_read_only_path(sleeper, path):
    if not os.path.exists(path):
        pytest.skip("this kernel has no such path")
    assert mountinfo(sleeper.sh("cat /proc/self/mountinfo"))[path][1].startswith("ro,")


def test_sysctls_cannot_be_written(sleeper, minirun):
    result = minirun("exec", "c1", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    assert result.code != 0
    assert "Read-only file system" in result.err


def test_sys_and_cgroup_are_read_only(sleeper, minirun):
    result = minirun(
        "exec",
        "c1",
        "sh",
        "-c",
        "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | while read f; do "
        "echo 1 > $f && echo WRITTEN; mkdir $(dirname $f)/x && echo MADE; done; "
        "echo 0 > /sys/class/net/lo/mtu && echo WRITTEN; true",
    )
    assert result.out == ""
    assert result.err.count("Read-only file system") >= 2


def test_its_cgroup_is_shown(sleeper):
    """What it sees below /sys/fs/cgroup is its own cgroup: itself is in it."""
    shown = sleeper.sh("cat /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -n1")
    assert shown == "1"


# ---- rights ----------------------------------------------------------------------------------------------------


def capabilities(minirun, *options):
    out = minirun.ok("run", "--rm", *options, "alpine", "grep", "^Cap", "/proc/self/status")
    return dict(line.split(":\t") for line in out.split("\n"))


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        ((), "00000000a80425fb"),
        (("--cap-add", "NET_ADMIN"), "00000000a80435fb"),
        (("--cap-add", "net_admin"), "00000000a80435fb"),
        (("--cap-drop", "NET_RAW"), "00000000a80405fb"),
        (("--cap-drop", "ALL"), "0" * 16),
        (("--cap-drop", "ALL", "--cap-add", "CHOWN"), "0000000000000001"),
    ],
)
def test_capabilities(minirun, options, mask):
    assert capabilities(minirun, *options) == {
        "CapInh": "0" * 16,
        "CapPrm": mask,
        "CapEff": mask,
        "CapBnd": mask,
        "CapAmb": "0" * 16,
    }


def test_capabilities_of_a_user(minirun):
    assert capabilities(minirun, "-u", "1000") == {
        "CapInh": "0" * 16,
        "CapPrm": "0" * 16,
        "CapEff": "0" * 16,
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
    }


def test_what_root_in_a_container_cannot_do(sleeper, minirun):
    for script, words in (
        ("mount -t tmpfs t /mnt", "permission denied"),
        ("hostname x", "Operation not permitted"),
        ("ip link set eth0 down", "Operation not permitted"),
        ("adjtimex -f 1", "ermitted"),
        ("umount /proc/sys", "ermitted"),
    ):
        result = minirun("exec", "c1", "sh", "-c", script)
        assert result.code != 0, script
        assert words.lower() in (result.out + result.err).lower(), (script, result)


def test_no_new_privileges(minirun):
    assert minirun.sh("grep NoNewPrivs /proc/self/status") == "NoNewPrivs:\t0"
    assert minirun.sh("grep NoNewPrivs /proc/self/status", "--security-opt", "no-new-privileges") == "NoNewPrivs:\t1"


def test_not_dumpable_before_it_is_the_program(minirun, host):
    """Whoever is in the container must not get at the half-made process that joins it (exec) or becomes it (run)."""
    trace = host.run(
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=prctl,setns,unshare,clone3",
        *minirun.words,
        "run",
        "--rm",
        "alpine",
        "true",
        timeout=60,
    )
    if trace.returncode == 127:
        pytest.skip("strace is missing")
    lines = trace.stderr.splitlines()
    dumpable = next(place for place, line in enumerate(lines) if "PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in line)
    birth = next(place for place, line in enumerate(lines) if "clone3(" in line and "CLONE_NEWPID" in line)
    unshared = next(place for place, line in enumerate(lines) if "unshare(" in line)
    assert dumpable < birth < unshared


# ---- devices ---------------------------------------------------------------------------------------------------


def test_dev(sleeper):
    out = sleeper.sh(
        "cd /dev; stat -c '%n %F %t,%T %a' null zero full random urandom tty; "
        "for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done"
    )
    assert out.split("\n") == [
        "null character special file 1,3 666",
        "zero character special file 1,5 666",
        "full character special file 1,7 666",
        "random character special file 1,8 666",
        "urandom character special file 1,9 666",
        "tty character special file 5,0 666",
        "fd /proc/self/fd",
        "stdin /proc/self/fd/0",
        "stdout /proc/self/fd/1",
        "stderr /proc/self/fd/2",
        "ptmx pts/ptmx",
    ]
    assert sorted(sleeper.sh("ls /dev").split()) == sorted(
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    assert sleeper.sh("stat -c %a /dev/shm /dev/mqueue") == "1777\n1777"


def test_the_hosts_disk_cannot_be_opened(sleeper, minirun):
    result = minirun("exec", "c1", "sh", "-c", "mknod /sda b 8 0 && head -c 1 /sda")
    assert "Operation not permitted" in result.err
    assert sleeper.sh("ls /sda") == "/sda"  # making the node is allowed
    for node in ("c 1 1", "c 10 229", "b 254 0", "c 4 0"):  # mem, fuse, this kind of machine's disk, a console
        result = minirun("exec", "c1", "sh", "-c", f"rm -f /n; mknod /n {node} && head -c 1 /n")
        assert "Operation not permitted" in result.err, node


def test_allowed_devices_work(sleeper):
    out = sleeper.sh(
        "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/random | wc -c; "
        "echo x > /dev/null; (echo x > /dev/full) 2>&1 | grep -c 'No space'"
    )
    assert out.split() == ["4", "4", "4", "1"]


def test_console_only_with_a_terminal(sleeper, minirun):
    assert minirun("exec", "c1", "ls", "/dev/console").code != 0
    container = minirun.begin("-t", "alpine", "sleep", "100", name="c2")
    assert (
        container.sh("stat -c '%F %U %G %a' /dev/console; for n in 0 1 2; do readlink /proc/1/fd/$n; done")
        == "character special file root tty 620\n/dev/pts/0\n/dev/pts/0\n/dev/pts/0"
    )


# ---- descriptors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-i",), ("-t",)])
def test_no_descriptor_too_many(minirun, options):
    container = minirun.begin(*options, "alpine", "sleep", "100")
    # `run` comes back when the program has been told to start; what is closed by its execve is closed a moment later.
    assert wait_for(lambda: sorted(os.listdir(f"/proc/{container.pid}/fd")) == ["0", "1", "2"])


def test_no_descriptor_too_many_in_exec(sleeper):
    # 3 is the directory that ls reads
    assert sleeper.sh("ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_descriptors_of_the_caller_stay_outside(minirun, host, tmp_path):
    (tmp_path / "secret").write_text("host")
    done = host.run(
        "sh", "-c", f"exec 7<{tmp_path}/secret 9</; {' '.join(minirun.words)} run --rm alpine ls /proc/self/fd"
    )
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_the_monitor_holds_nothing_of_the_host(minirun, sleeper):
    """Its descriptors are pipes, sockets and the log; its environment and directory are not the caller's terminal."""
    monitor = sleeper.monitor()
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    kinds = {os.readlink(f"/proc/{monitor}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{monitor}/fd")}
    files = {kind for kind in kinds if kind.startswith("/") and not kind.endswith("-json.log")}
    assert files <= {"/dev/null"}


def test_the_interpreter_cannot_be_overwritten(minirun, host):
    """/proc/self/exe of the process that becomes ours must not lead to the host's Python: nothing of it is left."""
    container = minirun.begin("alpine", "sleep", "100")
    assert container.sh("readlink /proc/1/exe") == "/bin/busybox"
    maps = Path(f"/proc/{container.pid}/maps").read_text()
    assert "python" not in maps
