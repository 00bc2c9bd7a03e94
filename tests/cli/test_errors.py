"""What goes wrong: Docker's words, Docker's exit codes, and nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

DAEMON = "minirun: Error response from daemon: "
SEE = "\nSee 'minirun run --help'.\n"
START = (
    DAEMON + "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    "container process: "
)
EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "


@pytest.fixture
def refused(minirun, host):
    """Run a command line that must fail, with this on standard error, this exit code, and nothing left behind."""

    def check(words, err, code):
        result = minirun(*words)
        assert (result.err, result.code) == (err, code)
        assert result.out == ""
        host.assert_clean()

    return check


def one_line(result, code=125):
    """A failure that has no twin in Docker: one line for a terminal, perhaps with a hint."""
    assert result.code == code, result
    lines = result.err.rstrip("\n").split("\n")
    assert lines[0].startswith("minirun: ") and len(lines[0]) > 20, result
    assert all(line.startswith(("hint: ", "See ")) for line in lines[1:]), result
    assert "Traceback" not in result.err
    assert "mistake in minirun" not in result.err
    return result.err


# ---- images and programs ---------------------------------------------------------------------------------------


def test_unknown_image(minirun, host):
    result = minirun("run", "nosuchimage:tag")
    lines = result.err.split("\n")
    assert lines[0] == "Unable to find image 'nosuchimage:tag' locally"
    assert lines[1].startswith(DAEMON)
    assert [line for line in lines[2:] if not line.startswith("hint: ")] == ["See 'minirun run --help'.", ""]
    assert (result.out, result.code) == ("", 125)
    host.assert_clean()


def test_unknown_image_never_pulled(refused):
    refused(["run", "--pull", "never", "nosuch"], f"{DAEMON}No such image: nosuch:latest.{SEE}", 125)


def test_bad_reference(refused):
    refused(["run", "UPPER"], f"minirun: invalid reference format: repository name must be lowercase.{SEE}", 125)


@pytest.mark.parametrize(
    ("program", "reason", "code"),
    [
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied', 126),
        ("nosuchcmd", 'exec: "nosuchcmd": executable file not found in $PATH', 127),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory', 127),
    ],
)
def test_program_that_cannot_be_started(minirun, host, program, reason, code):
    result = minirun("run", "--rm", "alpine", program)
    assert (result.out, result.err, result.code) == ("", f"{START}{reason}: unknown.\n", code)
    host.assert_clean()


def test_a_directory_is_no_program(minirun, host):
    result = minirun("run", "--rm", "alpine", "/etc")
    assert result.code == 126
    assert result.err.startswith(f'{START}exec: "/etc": ')
    host.assert_clean()


def test_a_file_without_a_format(minirun):
    """Executable by its mode bits, and no program: execve(2) says ENOEXEC."""
    result = minirun("run", "--rm", "--entrypoint", "/e/x", "-v", "/etc:/e2", "--tmpfs", "/e:exec", "alpine")
    assert result.code == 127
    minirun("run", "--name", "w1", "alpine", "sh", "-c", "echo nonsense > /x; chmod 755 /x")
    result = minirun("exec", "w1", "/x")
    assert result.code == 1


def test_a_start_that_failed_leaves_the_container_created(minirun, host):
    result = minirun("run", "-d", "--name", "w1", "alpine", "nosuchcmd")
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.out)
    assert result.code == 127
    assert minirun.ok("ps", "-a", "--format", "{{.Status}}") == "Created"
    state = minirun.ok(
        "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.Error}}", "w1"
    )
    assert state.startswith("created 127 0001-01-01T00:00:00Z failed to create shim task: OCI runtime create failed: ")
    assert (host.links(), host.cgroups(), host.addresses()) == ([*host.links()], [], [])
    assert not [link for link in host.links() if link.startswith("veth")]
    again = minirun("start", "w1")
    assert again.code == 1
    assert "executable file not found in $PATH" in again.err
    assert again.err.endswith("Error: failed to start containers: w1\n")


# ---- command lines ---------------------------------------------------------------------------------------------


def test_usage(refused):
    refused(["run", "--nosuchflag"], "unknown flag: --nosuchflag\nSee 'minirun run --help'.\n", 125)
    refused(
        ["run"],
        "\"minirun run\" requires at least 1 argument.\nSee 'minirun run --help'.\n\n"
        "Usage:  minirun run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun a command in a new container\n",
        1,
    )
    refused(["nosuchcmd"], "minirun: 'nosuchcmd' is not a minirun command.\nSee 'minirun --help'\n", 1)
    refused(
        ["rm"],
        "\"minirun rm\" requires at least 1 argument.\nSee 'minirun rm --help'.\n\n"
        "Usage:  minirun rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRemove one or more containers\n",
        1,
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-m", "10x"], 'invalid argument "10x" for "-m, --memory" flag: invalid size: \'10x\''),
        (["--cpus", "abc"], 'invalid argument "abc" for "--cpus" flag: failed to parse abc as a rational number'),
        (
            ["--sysctl", "kernel.panic=1"],
            'invalid argument "kernel.panic=1" for "--sysctl" flag: sysctl \'kernel.panic=1\' is not whitelisted',
        ),
        (["--ulimit", "bad=1"], 'invalid argument "bad=1" for "--ulimit" flag: invalid ulimit type: bad'),
        (
            ["--ulimit", "nofile=200:100"],
            'invalid argument "nofile=200:100" for "--ulimit" flag: ulimit soft limit must be less than or equal to '
            "hard limit: 200 > 100",
        ),
        (["--ulimit", "nofile"], 'invalid argument "nofile" for "--ulimit" flag: invalid ulimit argument: nofile'),
        (["-e", "=x"], 'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'),
        (
            ["--mount", "foo=bar"],
            "invalid argument \"foo=bar\" for \"--mount\" flag: unexpected key 'foo' in 'foo=bar'",
        ),
    ],
)
def test_values_that_the_client_refuses(refused, options, text):
    refused(["run", *options, "alpine"], f"{text}{SEE}", 125)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-m", "4m"], "Minimum memory limit allowed is 6MB"),
        (
            ["-m", "64m", "--memory-reservation", "128m"],
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (["--memory-swap", "128m"], "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            ["-m", "64m", "--memory-swap", "32m"],
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (["--oom-score-adj", "2000"], "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (["--cap-add", "NOSUCH"], 'invalid CapAdd: unknown capability: "CAP_NOSUCH"'),
        (["--stop-signal", "BOGUS"], "Invalid signal: BOGUS"),
        (["--name", "a"], "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (["--name", "-x"], "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (["-w", "rel"], "the working directory 'rel' is invalid, it needs to be an absolute path"),
        (
            ["-v", "/tmp:rel"],
            "invalid volume specification: '/tmp:rel': invalid mount config for type \"bind\": "
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (["-v", "/tmp:/v:bad"], "invalid mode: bad"),
        (
            ["-v", "/tmp:/"],
            "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (["--tmpfs", "t"], "invalid mount path: 't' mount path must be absolute"),
    ],
)
def test_values_that_the_engine_refuses(refused, options, text):
    refused(["run", *options, "alpine", "true"], f"{DAEMON}{text}.{SEE}", 125)


def test_cpus_out_of_range(refused):
    count = os.cpu_count()
    words = "there are" if count != 1 else "there is"
    for value in ("99", "-1"):
        refused(
            ["run", "--cpus", value, "alpine", "true"],
            f"{DAEMON}Range of CPUs is from 0.01 to {count}.00, as {words} only {count} CPUs available.{SEE}",
            125,
        )
    refused(
        ["run", "--cpuset-cpus", "999", "alpine", "true"],
        f"{DAEMON}Requested CPUs are not available - requested 999, available: 0"
        f"{f'-{count - 1}' if count > 1 else ''}.{SEE}",
        125,
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--env-file", "/no/such"], "open /no/such: no such file or directory"),
        (["--security-opt", "bogus"], 'Invalid --security-opt: "bogus"'),
    ],
)
def test_what_the_client_looks_at_first(refused, options, text):
    refused(["run", *options, "alpine", "true"], f"minirun: {text}.{SEE}", 125)


def test_env_file_with_a_space_in_a_name(refused, tmp_path):
    (tmp_path / "env").write_text("A B=1\n")
    refused(
        ["run", "--env-file", f"{tmp_path}/env", "alpine", "env"],
        f"minirun: poorly formatted environment: variable 'A B' contains whitespaces.{SEE}",
        125,
    )


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("1000:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_bad_users(minirun, host, user, text):
    result = minirun("run", "--rm", "-u", user, "alpine", "true")
    assert (result.err, result.code) == (f"{DAEMON}{text}.\n", 125)
    host.assert_clean()


def test_working_directory_that_is_a_file(minirun, host):
    result = minirun("run", "--rm", "-w", "/etc/passwd", "alpine", "true")
    assert result.code == 125
    assert "Cannot mkdir: /etc/passwd is not a directory" in result.err
    host.assert_clean()


def test_no_command(minirun, host):
    minirun.machine.run("sh", "-c", "mkdir -p /run/x; touch /run/x/f; tar -C /run/x -cf /run/x.tar .", check=True)
    minirun.ok("import", "/run/x.tar", "empty")
    try:
        result = minirun("run", "empty")
        assert (result.err, result.code) == (f"{DAEMON}No command specified.{SEE}", 125)
        host.assert_clean()
    finally:
        minirun.ok("rmi", "empty")


# ---- names and containers --------------------------------------------------------------------------------------


def test_used_name(minirun):
    container_id = minirun.ok("create", "--name", "ab", "alpine", "true")
    text = (
        f'Conflict. The container name "/ab" is already in use by container "{container_id}". You have to '
        "remove (or rename) that container to be able to reuse that name."
    )
    result = minirun("run", "--name", "ab", "alpine", "true")
    assert (result.out, result.err, result.code) == ("", f"{DAEMON}{text}{SEE}", 125)
    result = minirun("create", "--name", "/ab", "alpine", "true")
    assert (result.err, result.code) == (f"Error response from daemon: {text}\n", 1)
    assert minirun.ok("ps", "-aq", "--no-trunc") == container_id


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (["logs", "nosuch"], "Error: No such container: nosuch\n"),
        (["rm", "nosuch"], "Error: No such container: nosuch\n"),
        (["exec", "nosuch", "true"], "Error: No such container: nosuch\n"),
        (["start", "-a", "nosuch"], "Error: No such container: nosuch\n"),
        (["stop", "nosuch"], "Error response from daemon: No such container: nosuch\n"),
        (["restart", "nosuch"], "Error response from daemon: No such container: nosuch\n"),
        (["wait", "nosuch"], "Error response from daemon: No such container: nosuch\n"),
        (["kill", "nosuch"], "Error response from daemon: Cannot kill container: nosuch: No such container: nosuch\n"),
        (
            ["start", "nosuch"],
            "Error response from daemon: No such container: nosuch\nError: failed to start containers: nosuch\n",
        ),
        (["container", "inspect", "nosuch"], "Error: No such container: nosuch\n"),
        (["inspect", "nosuch"], "Error: No such object: nosuch\n"),
        (["rmi", "nosuch"], "Error: No such image: nosuch\n"),
    ],
)
def test_unknown_things(minirun, words, err):
    result = minirun(*words)
    assert (result.err, result.code) == (err, 1)
    assert result.out == ("[]\n" if "inspect" in words else "")


def test_ambiguous_prefix(minirun):
    ids = [minirun.ok("create", "alpine", "true") for _ in range(17)]  # two of seventeen begin alike
    digit = next(digit for digit in "0123456789abcdef" if sum(one.startswith(digit) for one in ids) > 1)
    result = minirun("inspect", digit)
    several = f"Error response from daemon: Multiple IDs found with provided prefix: {digit}\n"
    assert (result.err, result.code) == (several, 1) or result.err == f"Error: No such object: {digit}\n"
    result = minirun("stop", digit)
    assert (result.err, result.code) == (several, 1)


def test_bad_signal(minirun):
    minirun.begin("alpine", "sleep", "100")
    result = minirun("kill", "-s", "BOGUS", "c1")
    assert (result.err, result.code) == ("Error response from daemon: Invalid signal: BOGUS\n", 1)


# ---- exec ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["c1", "nosuch"], EXEC + 'exec: "nosuch": executable file not found in $PATH: unknown'),
        (["c1", "/etc/passwd"], EXEC + 'exec: "/etc/passwd": permission denied: unknown'),
        (
            ["-w", "/nope", "c1", "true"],
            EXEC + 'chdir to cwd ("/nope") set in config.json failed: no such file or directory: unknown',
        ),
        (["-u", "nosuch", "c1", "true"], "unable to find user nosuch: no matching entries in passwd file"),
    ],
)
def test_exec_says_it_on_standard_output(minirun, words, text):
    container = minirun.begin("alpine", "sleep", "100")
    result = minirun("exec", *words)
    assert (result.out.rstrip("\r\n"), result.err, result.code) == (text, "", 126)
    assert container.running()
    assert len(container.pids()) == 1


# ---- the surroundings ------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(minirun, host):
    """The program, run by a user without any rights; from a place that he can get at, for root's home is closed."""
    prefix = Path(minirun.words[0]).parents[1]
    program = Path(minirun.words[0]).relative_to(prefix)

    def call(*words):
        return host.run(
            "unshare",
            "--mount",
            "sh",
            "-euc",
            "mkdir -p -m 755 /run/program; "
            'mount --bind "$0" /run/program; '
            'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"',
            str(prefix),
            f"/run/program/{program}",
            *minirun.words[1:],
            *words,
        )

    yield call
    host.run("rmdir", "/run/program", check=True)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--rm", "alpine", "true"],
        ["run", "-d", "alpine", "true"],
        ["create", "alpine", "true"],
        ["ps"],
        ["ps", "-a"],
        ["images"],
        ["rm", "x"],
        ["logs", "x"],
    ],
)
def test_without_rights(nobody, host, words):
    done = nobody(*words)
    lines = done.stderr.rstrip("\n").split("\n")
    assert done.returncode in (1, 125), done
    assert len(lines) <= 2 and all(line.startswith(("hint: ", "See ")) for line in lines[1:]), done.stderr
    assert re.search("permission denied|root", lines[0] + done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "mistake in minirun" not in done.stderr
    host.assert_clean()


@pytest.mark.parametrize("fill", [True, False])
def test_full_data_root(new_host, tmp_path, fill):
    """A disk without room: one line says so, and what was begun is taken back."""
    data = tmp_path / "data"
    data.mkdir()
    small = "8k" if not fill else "400k"
    script = (
        f"mount -t tmpfs -o size={small},mode=755 tmpfs {data}; mkdir {data}/images; "
        f"mount --bind {new_host.data}/images {data}/images"
    )
    new_host.run("sh", "-ec", script, check=True)
    if fill:
        new_host.run("sh", "-c", f"dd if=/dev/zero of={data}/fill bs=4k 2>/dev/null")
    result = new_host.minirun("--root", str(data), "run", "--rm", "alpine", "true")
    if not fill and result.code == 0:
        pytest.skip("it fits")
    assert "no space left on device" in one_line(result)
    left = new_host.run("find", str(data), "-mindepth", "2", "-not", "-path", f"{data}/images*").stdout
    assert left == ""
    new_host.run("umount", f"{data}/images", str(data), check=True)
    new_host.assert_clean()


def test_full_data_root_while_it_runs(new_host, tmp_path):
    """The log cannot be written any more: the container goes on, and its end is recorded or said."""
    data = tmp_path / "data"
    data.mkdir()
    new_host.run(
        "sh",
        "-ec",
        f"mount -t tmpfs -o size=600k,mode=755 tmpfs {data}; mkdir {data}/images; mount --bind "
        f"{new_host.data}/images {data}/images",
        check=True,
    )
    words = ("--root", str(data))
    result = new_host.minirun(*words, "run", "--name", "w1", "alpine", "sh", "-c", "seq 1 200000 >&2; echo end")
    assert result.code == 0
    assert result.out == "end\n"
    assert len(result.err.split("\n")) == 200001
    assert new_host.minirun(*words, "rm", "w1").code == 0
    new_host.run("umount", f"{data}/images", str(data), check=True)
    new_host.assert_clean()


def test_read_only_data_root(new_host):
    new_host.run(
        "sh",
        "-ec",
        f"mount --bind {new_host.data} {new_host.data}; mount -o remount,bind,ro {new_host.data}",
        check=True,
    )
    assert "read-only file system" in one_line(new_host.minirun("run", "--rm", "alpine", "true"))
    assert new_host.minirun.ok("ps", "-aq") == ""
    new_host.run("umount", str(new_host.data), check=True)
    new_host.assert_clean()


def test_without_iptables(new_host):
    new_host.run("mount", "--bind", "/dev/null", os.path.realpath("/usr/sbin/iptables"), check=True)
    err = one_line(new_host.minirun("run", "--rm", "alpine", "true"))
    assert "iptables" in err
    assert "apt-get install iptables" in err
    assert new_host.minirun("run", "--rm", "--network", "none", "alpine", "true").code == 0
    new_host.run("umount", os.path.realpath("/usr/sbin/iptables"), check=True)
    assert "minirun0" not in new_host.links()
    assert new_host.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"
    new_host.assert_clean()


def test_without_a_cgroup_file_system(new_host):
    """Not a host that minirun can use; it says what is missing."""
    new_host.run("umount", "-R", "/sys/fs/cgroup", check=True)
    err = one_line(new_host.minirun("run", "--rm", "alpine", "true"))
    assert "cgroup" in err
    new_host.spoiled = True
    assert (new_host.containers(), new_host.addresses()) == ([], [])
    assert not [link for link in new_host.links() if link.startswith("veth")]


def test_without_overlayfs(new_host):
    """A kernel that cannot mount an overlay (as seen here: the mount is refused) gives one line with the reason."""
    new_host.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", f"{new_host.data}/images/layers", check=True)
    one_line(new_host.minirun("run", "--rm", "alpine", "true"))
    new_host.run("umount", f"{new_host.data}/images/layers", check=True)
    new_host.assert_clean()


@pytest.fixture
def static_only(minirun, tmp_path):
    """An image of one static program: no /proc, no /etc, no /dev."""
    busybox = next((path for path in ("/usr/bin/busybox", "/bin/busybox") if os.path.exists(path)), None)
    if not busybox or subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode == 0:
        pytest.skip("needs a static busybox")
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:
        tar.add(busybox, "busybox")
    minirun.ok("import", str(tmp_path / "rootfs.tar"), "static:1")
    yield "static:1"
    minirun.machine.tidy_up()
    minirun.ok("rmi", "-f", "static:1")


def test_an_image_of_one_file(minirun, static_only):
    assert minirun.ok("run", "--rm", static_only, "/busybox", "ls", "/").split() == sorted(
        ["busybox", "dev", "etc", "proc", "sys"]
    )
    assert minirun.ok("run", "--rm", static_only, "/busybox", "cat", "/etc/hostname", "/proc/self/comm").endswith(
        "busybox"
    )
    assert minirun.ok("run", "--rm", "-u", "5:5", static_only, "/busybox", "id", "-u") == "5"
    assert minirun.ok("run", "--rm", static_only, "/busybox", "env").endswith("HOME=/")
    result = minirun("run", "--rm", static_only, "sh")
    assert result.code == 127


def test_damaged_record(minirun, host):
    """One container's file is no JSON any more: the others can still be used, and it can be removed."""
    minirun.ok("create", "--name", "good", "alpine", "true")
    bad = minirun.ok("create", "--name", "bad", "alpine", "true")
    record = host.data / "containers" / bad / "config.v2.json"
    text = record.read_text()
    record.write_text(text[:100])
    try:
        result = minirun("ps", "-a")
        assert "Traceback" not in result.err
        assert "good" in result.out, result
    finally:
        record.write_text(text)


def test_closed_standard_streams(minirun, host):
    done = host.run("sh", "-c", f"{' '.join(minirun.words)} run --rm alpine echo hi <&- 2>&-")
    assert (done.stdout, done.returncode) == ("hi\n", 0)
    done = host.run("sh", "-c", f"{' '.join(minirun.words)} run --rm alpine true >&- 2>&-")
    assert done.returncode in (0, 1, 125)
    host.assert_clean()


def test_output_to_a_full_device(minirun, host):
    done = host.run("sh", "-c", f"{' '.join(minirun.words)} ps > /dev/full")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    done = host.run("sh", "-c", f"{' '.join(minirun.words)} run --rm alpine echo x > /dev/full")
    assert "Traceback" not in done.stderr
    host.assert_clean()


def test_debug_shows_where(minirun):
    assert "Traceback" in minirun("--debug", "run", "--rm", "--pull", "never", "nosuch").err
