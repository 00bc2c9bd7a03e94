"""kill -9 at any moment, and two commands that want the same container: nothing stays that nobody clears."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.host import PATIENCE, wait_for

MOMENTS = 20


def kill(*pids):
    """Kill all, and wait until they are dead: the signal takes effect a moment after kill(2) has come back."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def parent(pid):
    """The pid of its parent; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def ours(host, name):
    """The processes with this name that a test has started."""
    return [pid for pid, found in host.pids().items() if found.startswith(name) and pid not in host.pids_before]


def look(host):
    """The status of each container, as `ps` shows it."""
    result = host.minirun("ps", "-a", "--format", "{{.Names}}\t{{.Status}}")
    assert (result.code, result.err) == (0, ""), result
    return dict(line.split("\t") for line in result.out.splitlines())


def settle(host):
    """What a person does next: look, and make another container. After that no container may be half there."""
    found = look(host)
    host.minirun.act()
    return found


def assert_nothing_runs(host, seconds=PATIENCE / 4):
    """No link, cgroup, address, mount, process; and no volatile directory."""
    deadline = time.monotonic() + seconds
    while (left := [leak for leak in host.leaks() if "data root" not in leak]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == [], host.pids()


# ---- a running container ---------------------------------------------------------------------------------------


@pytest.mark.timing("within 0.3 s the container must have written a line")
def test_the_cli_is_killed_and_the_container_goes_on(minirun, host):
    process = minirun.popen(
        "run", "--name", "c1", "alpine", "sh", "-c", "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done"
    )
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert settle(host)["c1"].startswith("Up")
    before = len(minirun.ok("logs", "c1").split())
    time.sleep(0.3)
    assert len(minirun.ok("logs", "c1").split()) > before
    assert minirun.ok("exec", "c1", "echo", "alive") == "alive"
    minirun.ok("stop", "-t", "0", "c1")


def test_the_cli_of_a_removable_container_is_killed(minirun, host):
    process = minirun.popen("run", "--rm", "alpine", "sh", "-c", "echo ready; sleep 0.3")
    process.stdout.readline()
    process.kill()
    process.communicate()
    host.assert_clean()


def test_the_monitor_is_killed(minirun, host):
    container = minirun.begin("alpine", "sleep", "1000")
    kill(container.monitor())
    assert settle(host)["c1"].startswith("Exited (137)")
    assert_nothing_runs(host)
    assert (
        minirun.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}", "c1")
        == "exited 137 false"
    )
    minirun.ok("start", "c1")
    assert settle(host)["c1"].startswith("Up")


def test_the_monitor_of_a_removable_container_is_killed(minirun, host):
    container = minirun.begin("--rm", "alpine", "sleep", "1000")
    kill(container.monitor())
    assert settle(host) == {}
    host.assert_clean()


def test_the_monitor_is_killed_while_somebody_is_attached(minirun, host):
    process = minirun.popen("run", "--name", "c1", "alpine", "sh", "-c", "echo ready; sleep 1000")
    process.stdout.readline()
    (monitor,) = ours(host, "minirun:monitor")
    kill(monitor)
    assert process.wait(timeout=PATIENCE) == 137
    process.communicate()
    assert settle(host)["c1"].startswith("Exited (137)")
    assert_nothing_runs(host)


@pytest.mark.parametrize(
    "verb", ["ps", "inspect", "logs", "exec", "start", "stop", "kill", "restart", "wait", "rm", "rm -f"]
)
def test_every_verb_copes_with_a_dead_monitor(minirun, host, verb):
    container = minirun.begin("alpine", "sleep", "1000")
    kill(container.monitor())
    words = {"ps": ["ps", "-a"], "exec": ["exec", "c1", "true"]}.get(verb, [*verb.split(), "c1"])
    result = minirun(*words)
    expected = {"exec": 1, "kill": 1}.get(verb, 0)
    assert result.code == expected, result
    assert "Traceback" not in result.err
    if verb in ("rm", "rm -f"):
        host.assert_clean()
    elif verb not in ("start", "restart", "ps", "inspect", "logs", "wait"):
        assert_nothing_runs(host)
    else:
        minirun.ok("rm", "-f", "c1")


def picture(host):
    """All that a command could change: files, devices, firewall rules, processes, mounts."""
    files = {}
    for root in (host.data, host.run_directory / "minirun"):
        for path in sorted(root.rglob("*")):
            about = path.lstat()
            files[path] = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ino)
    return files, host.links(), host.run("iptables-save").stdout.count("\n-A"), set(host.pids()), host.cgroups()


def test_asking_changes_nothing(minirun, host):
    """The shims of two containers are dead: `ps` and the others say so, and leave the clearing up to who acts."""
    kept = minirun.begin("-p", "8080:80", "alpine", "sleep", "1000")
    # Not a name of hex digits: once the container is gone, `inspect` would find an image whose ID begins so.
    removable = minirun.begin("--rm", "alpine", "sleep", "1000", name="removable")
    kill(kept.monitor(), removable.monitor())
    before = picture(host)
    assert list(look(host)) == ["c1"]
    assert look(host)["c1"].startswith("Exited (137)")
    assert minirun.ok("ps", "-q") == ""
    assert minirun.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "c1") == "exited 137 0"
    assert minirun("inspect", "removable").code == 1
    assert minirun.ok("logs", "c1") == minirun.ok("port", "c1") == ""
    assert minirun.ok("wait", "c1") == "137"
    assert minirun.ok("info", "-f", "{{.Containers}} {{.ContainersStopped}}") == "1 1"
    minirun.ok("network", "ls")
    minirun.ok("volume", "ls")
    assert "its monitor is dead" in minirun("system", "check").out
    assert picture(host) == before
    minirun.ok("run", "--rm", "--name", "removable", "-p", "8080:80", "alpine", "true")  # name and port are free again
    assert_nothing_runs(host)
    assert look(host)["c1"].startswith("Exited (137)")


def test_container_and_monitor_are_killed(minirun, host):
    container = minirun.begin("alpine", "sleep", "1000")
    monitor, pid = container.monitor(), container.pid
    os.kill(monitor, signal.SIGSTOP)
    kill(pid)
    kill(monitor)
    assert settle(host)["c1"].startswith("Exited (137)")
    assert_nothing_runs(host)


def test_signals_to_the_group_do_not_end_the_monitor(minirun, host):
    """ctrl-C in the terminal where `run -d` was typed, or its window closed."""
    container = minirun.begin("alpine", "sleep", "1000")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(container.monitor(), number)
    time.sleep(0.1)
    assert container.running()


def test_a_reboot(minirun, host):
    """All processes, cgroups and /run are gone: what ran is Exited (255) then, as in Docker, and can be started."""
    container = minirun.begin("alpine", "sleep", "1000")
    monitor = container.monitor()
    os.kill(monitor, signal.SIGSTOP)
    kill(container.pid)
    kill(monitor)
    host.run("sh", "-c", "umount -l /run/netns/c1; rm -rf /run/netns/c1 /run/minirun", check=True)
    host.run("ip", "link", "del", "minirun0")
    deadline = time.monotonic() + PATIENCE
    while host.cgroups() and time.monotonic() < deadline:
        host.run("sh", "-c", "find /sys/fs/cgroup -depth -path '*/minirun/*' -type d -exec rmdir {} + 2>/dev/null")
    assert settle(host)["c1"].startswith("Exited (255)")
    minirun.ok("start", "c1")
    assert container.sh("ping -c 1 -W 2 172.17.0.1 | grep -c '1 packets received'") == "1"


def test_somebody_is_killed_while_he_writes(minirun, host):
    """A file is written under another name first; half of one harms nobody, and `system check` sees it."""
    minirun.begin("-p", "8080:80", "alpine", "sleep", "1000")
    dead = subprocess.Popen(["true"])
    dead.wait()
    run = host.run_directory / "minirun/networks"
    (rules,) = run.glob("bridge/rules/*")
    halves = [
        Path(f"{path}.new{dead.pid}")
        for path in (
            rules,
            run / "rules",
            run / "pool",
            run / "bridge/network.json",
            run / "ports/0.0.0.0/tcp/last",
            host.data / "networks" / f"{'a' * 64}.json",
        )
    ]
    for half in halves:
        half.write_text('{"Own')
    host.run("iptables", "-t", "nat", "-F", check=True)
    minirun.ok("run", "--rm", "-p", "8081:80", "alpine", "true")
    minirun.ok("network", "reload")
    assert "dport 8080" in host.run("iptables", "-t", "nat", "-S", "MINIRUN").stdout
    minirun.ok("rm", "-f", "c1")
    told = minirun("system", "check", "--repair").out
    assert [half for half in halves if half.exists() or half.name not in told] == []
    assert "Nothing is left over." in minirun.ok("system", "check")


# ---- a start ---------------------------------------------------------------------------------------------------


def moments(duration):
    """Random moments of a start, more of them than stages."""
    chance = random.Random(os.environ.get("MINIRUN_TEST_SEED") or 20)
    return sorted(chance.uniform(0, duration) for _ in range(MOMENTS))


def duration_of_a_start(minirun):
    began = time.monotonic()
    minirun.ok("run", "--rm", "alpine", "true")
    took = time.monotonic() - began
    minirun.machine.assert_clean()  # its monitor is gone, and will not be taken for that of the next start
    return took


@pytest.mark.parametrize("options", [["--rm"], []])
def test_the_cli_is_killed_during_a_start(minirun, host, options):
    """What it has begun is either brought to its end by the monitor, or gone after the next command."""
    for moment in moments(duration_of_a_start(minirun)):
        process = minirun.popen("run", *options, "alpine", "sleep", "0.05")
        time.sleep(moment)
        process.kill()
        process.communicate()
        deadline = time.monotonic() + PATIENCE
        # The monitor brings it to its end; at its very beginning it does not bear its name yet.
        while set(host.pids()) - set(host.pids_before) and time.monotonic() < deadline:
            time.sleep(0.02)
        found = settle(host)
        assert all(status.startswith(("Exited (0)", "Created", "Exited (137)")) for status in found.values()), found
        assert_nothing_runs(host)
        if found:
            minirun.ok("rm", *found)
        host.assert_clean()


def test_the_cli_is_killed_during_a_start_and_somebody_starts_again(minirun, host):
    """The monitor brings the container up all the same, and the second one does not wait for its end."""
    process = minirun.popen("run", "--name", "c1", "alpine", "sleep", "1000")
    # A child of the monitor has its name too, until it takes one of its own; the monitor is the command's child.
    (monitor,) = wait_for(
        lambda: [pid for pid in ours(host, "minirun:monitor") if parent(pid) == process.pid], interval=0.0005
    )
    os.kill(monitor, signal.SIGSTOP)
    kill(process.pid)
    process.communicate()
    again = minirun.popen("start", "c1")
    time.sleep(0.5)  # it looks, and sees a monitor
    os.kill(monitor, signal.SIGCONT)
    assert again.communicate(timeout=PATIENCE / 2) == ("c1\n", "")
    assert again.returncode == 0
    assert settle(host)["c1"].startswith("Up")


@pytest.mark.timing("it must hit the shim in the milliseconds of a start")
def test_the_monitor_is_killed_during_a_start(minirun, host):
    """At any moment between its first breath and the program's first instruction."""
    hits = 0
    for moment in moments(duration_of_a_start(minirun) * 0.08):  # besides the time it takes to find it by its name
        process = minirun.popen("run", "--name", "c1", "alpine", "sleep", "1000", stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while (
            not (monitors := ours(host, "minirun:monitor")) and time.monotonic() < deadline and process.poll() is None
        ):
            time.sleep(0.001)
        time.sleep(moment)
        kill(*monitors)
        code = process.wait(timeout=PATIENCE)
        _, err = process.communicate()
        hits += code == 125
        assert code in (125, 137), (code, err)
        assert "Traceback" not in err
        found = settle(host)
        assert found.get("c1", "Created").startswith(("Created", "Exited (137)")), found
        assert_nothing_runs(host)
        minirun("rm", "-f", "c1")
        host.assert_clean()
    assert hits > 2, "the monitor was never hit during a start"


@pytest.mark.timing("it must hit init in the milliseconds before its exec")
def test_the_first_process_is_killed_during_a_start(minirun, host):
    hits = 0
    # It is there for some milliseconds, and finding it takes as long: most of the time there is none to wait.
    for moment in [*moments(0.004), *[0.0] * 80]:
        process = minirun.popen("run", "--rm", "alpine", "sleep", "0.1")
        deadline = time.monotonic() + PATIENCE
        while not (inits := ours(host, "minirun:init")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(moment)
        kill(*inits)
        code = process.wait(timeout=PATIENCE)
        _, err = process.communicate()
        hits += code == 125
        assert code in (0, 125, 137), (code, err)
        assert "Traceback" not in err
        host.assert_clean()
        if hits > 2 and moment == 0.0:
            break
    assert hits > 0, "the process was never hit during a start"


def test_everything_is_killed_during_a_start(minirun, host):
    """The plug is pulled: all of ours dies in the same moment; the next command clears up."""
    for moment in moments(duration_of_a_start(minirun)):
        process = minirun.popen("run", "--name", "c1", "alpine", "sleep", "1000")
        time.sleep(moment)
        kill(*(pid for pid in host.pids() if pid not in host.pids_before))
        process.communicate()
        kill(*(pid for pid in host.pids() if pid not in host.pids_before))
        settle(host)
        assert_nothing_runs(host)
        result = minirun("run", "--rm", "--name", "c2", "alpine", "true")  # and the next start is not in its way
        assert (result.code, result.err) == (0, "")
        minirun("rm", "-f", "c1")
        host.assert_clean()


def test_the_cli_is_killed_during_rm_and_stop(minirun, host):
    for number, moment in enumerate(moments(0.15)):
        minirun.begin("alpine", "sleep", "1000")
        process = minirun.popen(*(["rm", "-f", "c1"] if number % 2 else ["stop", "-t", "0", "c1"]))
        time.sleep(moment)
        process.kill()
        process.communicate()
        settle(host)
        minirun("rm", "-f", "c1")
        host.assert_clean()


def test_the_first_start_on_a_host_is_killed(new_host):
    """While the bridge and its rules are made: the next start completes them, once each."""
    for moment in (0.06, 0.09, 0.12, 0.15, 0.2):
        process = new_host.minirun.popen("run", "--rm", "alpine", "true")
        time.sleep(moment)
        for pid in [pid for pid in new_host.pids() if pid not in new_host.pids_before]:
            kill(pid)
        process.communicate()
        settle(new_host)
        new_host.run("sh", "-c", "iptables -S; iptables -t nat -S")
    assert "1 packets received" in new_host.minirun.sh("ping -c 1 -W 2 198.51.100.1")
    for table in ("filter", "nat"):
        rules = new_host.run("iptables", "-t", table, "-S").stdout.splitlines()
        assert len(rules) == len(set(rules)), rules
    assert "-P FORWARD DROP" in new_host.run("iptables", "-S", "FORWARD").stdout


# ---- two at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verbs",
    [
        "start start",
        "stop stop",
        "rm rm",
        "start rm",
        "stop rm",
        "start stop",
        "restart restart",
        "restart rm",
        "kill kill",
    ],
)
def test_two_commands_for_the_same_container(minirun, host, verbs):
    for _ in range(4):
        if "start" == verbs.split()[0]:
            minirun.ok("create", "--name", "c1", "alpine", "sleep", "1000")
        else:
            minirun.begin("alpine", "sleep", "1000")
        words = {"rm": ["rm", "-f"], "stop": ["stop", "-t", "0"], "restart": ["restart", "-t", "0"]}
        processes = [minirun.popen(*words.get(verb, [verb]), "c1") for verb in verbs.split()]
        for process in processes:
            out, err = process.communicate(timeout=PATIENCE)
            assert "Traceback" not in err
            assert "mistake" not in err, err
            assert process.returncode in (0, 1), (out, err)
        assert len(ours(host, "minirun:monitor")) <= 1
        settle(host)
        minirun("rm", "-f", "c1")
        host.assert_clean()


def test_many_at_once_of_all_kinds(minirun, host):
    """Ten containers come and go while others look on: nobody fails, nothing is left."""

    def begin(*words):
        return minirun.popen(*words, stderr=subprocess.STDOUT)

    for _ in range(2):
        runs = [begin("run", "--rm", "alpine", "sh", "-c", f"sleep 0.{number}; exit {number}") for number in range(6)]
        looks = [begin("ps", "-a") for _ in range(6)]
        for process in looks:
            out = process.communicate(timeout=PATIENCE)[0]
            assert process.returncode == 0, out
        for number, process in enumerate(runs):
            out = process.communicate(timeout=PATIENCE)[0]
            assert (process.returncode, out) == (number, "")
        host.assert_clean()


def test_a_name_goes_to_one_only(minirun, host):
    processes = [minirun.popen("create", "--name", "c1", "alpine", "true") for _ in range(6)]
    codes = []
    for process in processes:
        process.communicate(timeout=PATIENCE)
        codes.append(process.returncode)
    assert sorted(codes) == [0, 1, 1, 1, 1, 1]
    assert len(host.containers()) == 1
