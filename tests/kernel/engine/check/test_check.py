"""`system check`: what a crash leaves is found and cleared, and nothing else is touched.

Whether it is cleared is asked of the kernel and of the directories, by `MinirunHost.leaks`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import minirun
from harness.host import wait_for

ROOT = os.path.dirname(os.path.dirname(minirun.__file__))  # what is tested, which may be installed elsewhere
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from minirun.engine.check import check, problem
from minirun.engine.daemon import Daemon
problem.GRACE = float(sys.argv[2])
report = check.run(Daemon(), repair=sys.argv[3] == "repair")
print(json.dumps({"features": report.features, "good": report.good, "problems": [
    [found.kind, found.what, found.cleared, found.why] for found in report.problems]}))
"""
A, B = "a" * 64, "b" * 64
DEAD_PID = 4194305  # above the highest pid there can be (PID_MAX_LIMIT, proc(5))


class Check:
    """`check()` gives the kinds of problems that are found; `check.repair()` those that were, after clearing them."""

    def __init__(self, host):
        self.host = host
        self.problems, self.features, self.good = [], [], None

    def __call__(self, repair=False, *, grace=0.001, **environment):
        before = self.host.environment
        self.host.environment = {**before, **environment}
        try:
            done = self.host.run(sys.executable, "-c", SCRIPT, ROOT, str(grace), "repair" if repair else "look")
        finally:
            self.host.environment = before
        assert (done.returncode, done.stderr) == (0, "")
        answer = json.loads(done.stdout)
        self.problems, self.features, self.good = answer["problems"], answer["features"], answer["good"]
        return sorted(kind for kind, _, _, _ in self.problems)

    def repair(self, **options):
        kinds = self(repair=True, **options)
        assert [what for _, what, cleared, _ in self.problems if not cleared] == []
        return kinds


@pytest.fixture
def check(host):
    return Check(host)


def test_nothing_is_wrong_with_what_runs_and_what_rests(minirun, check):
    minirun.ok("create", "--name", "resting", "alpine", "true")
    running = minirun.begin("alpine", "sleep", "60")
    assert check.repair() == []
    assert check.good
    assert running.running()
    assert minirun.ok("exec", "c1", "hostname") == running.id[:12]


def test_a_service_that_was_given_up(minirun, host, check):
    container = minirun.begin("alpine", "sleep", "60")
    note = host.run_directory / "minirun/containers" / container.id / "failures"
    note.write_text("Resolver: KeyError: 'x' (resolver.py:1)\n")
    assert check() == ["service"]
    assert not check.good
    assert check.problems[0][1].startswith(f"container {container.id[:12]}: ")
    minirun.ok("restart", "-t", "0", "c1")
    assert check() == []


def test_a_killed_monitor(minirun, host, check):
    container = minirun.begin("alpine", "sleep", "60")
    pid = container.pid
    os.kill(container.monitor(), signal.SIGKILL)
    assert check() == ["monitor"]
    assert os.path.exists(f"/proc/{pid}")  # looking changes nothing
    assert check.repair() == ["monitor"]
    assert not container.running()
    assert container.cgroups() == [] and host.addresses() == []
    assert minirun.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "c1 exited"
    assert check.repair() == []


def test_a_killed_monitor_of_a_container_that_was_to_be_removed(minirun, host, check):
    container = minirun.begin("--rm", "alpine", "sleep", "60")
    os.kill(container.monitor(), signal.SIGKILL)
    assert check.repair() == ["monitor"]
    host.assert_clean()


def test_everything_that_can_be_left_at_once(minirun, host, check):
    """Each planted as the crash that leaves it would."""
    minirun.ok("run", "--rm", "alpine", "true")
    resting = minirun.ok("create", "--name", "resting", "alpine", "true")
    data, run = host.data, host.run_directory / "minirun"
    for directory in (
        data / "containers" / A / "upper",
        data / f"containers/.removed-{B}",
        run / "runtime" / B,
        run / "containers" / resting,
        data / "images/tmp/draft-1-0",
        data / "images/layers/feed",
    ):
        directory.mkdir(parents=True)
    (data / "names/taken").write_text(B)
    (data / "names/unsigned").write_text("")
    (data / "names/half").write_text(A)
    (data / f"containers/{resting}/config.v2.json.new{DEAD_PID}").write_text("{")
    (run / "networks/bridge/172.17.0.77").write_text(f"{B} vethfeedbee\n")
    host.run("ip", "link", "add", "vethfeedbee", "type", "veth", "peer", "name", "peer0", check=True)

    expected = ["address", "container", "container", "image", "image", "name", "name", "name", "run", "state", "write"]
    assert check() == expected
    assert check() == expected
    assert check.repair() == expected
    assert check() == []
    assert "vethfeedbee" not in host.links()
    assert [path.name for path in (data / "names").iterdir()] == ["resting"]
    assert minirun.ok("start", "-a", "resting") == ""  # it was not harmed
    minirun.ok("rm", "resting")
    host.assert_clean()


def test_what_is_being_made_is_left_alone(minirun, host, check):
    """A young directory without a record, an unfinished write of a living process, a container that somebody holds."""
    resting = minirun.ok("create", "alpine", "true")
    (host.data / "containers" / A).mkdir()
    (host.data / "names/young").write_text("")
    (host.data / f"containers/{resting}/config.v2.json.new{os.getpid()}").write_text("{")
    (host.run_directory / "minirun/containers" / resting).mkdir(parents=True)
    with subprocess.Popen(
        ["flock", "-o", host.data / f"containers/{resting}/.lock", "sh", "-c", "echo; exec sleep 60"],
        stdout=subprocess.PIPE,
    ) as holder:
        holder.stdout.readline()
        found = check.repair(grace=60)
        holder.terminate()
    assert found == []
    for path in (host.data / "containers" / A, host.run_directory / "minirun/containers" / resting):
        path.rmdir()
    (host.data / "names/young").unlink()


def test_a_cgroup_of_a_container_at_rest(minirun, host, check):
    resting = minirun.ok("create", "alpine", "true")
    made = plant_cgroups(host, resting)
    assert check.repair() == ["cgroup"]
    assert not any(os.path.exists(path) for path in made)


def test_a_cgroup_with_processes_is_shown_and_not_touched(minirun, host, check):
    resting = minirun.ok("create", "alpine", "true")
    made = plant_cgroups(host, resting)
    with host.popen("sleep", "60") as sleeper:
        with open(f"{made[0]}/cgroup.procs", "w") as procs:
            procs.write(str(sleeper.pid))
        assert check(repair=True) == ["cgroup"]
        assert not check.good and str(sleeper.pid) in check.problems[0][3]
        assert sleeper.poll() is None and os.path.exists(made[0])
        sleeper.kill()
        sleeper.wait()
    assert check.repair() == ["cgroup"]


def kept(host):
    """Links, cgroups, mounts, addresses, directories: all but the processes, of which some are about to end."""
    return [line for line in host.leaks() if not line.startswith("process ")]


def plant_cgroups(host, name):
    """Make the cgroup of a container by hand, in every tree. Returns: the directories."""
    from harness.host import cgroup_trees

    host.minirun.ok("run", "--rm", "--network", "none", "alpine", "true")  # makes the one above it
    made = [f"{mountpoint}/{host.name}/minirun/{name}" for mountpoint, _, _ in cgroup_trees()]
    for path in made:
        os.makedirs(path)
    return made


def test_another_instance_on_the_same_host(minirun, host, check):
    """With directories of its own: its running container, its dead one, its empty cgroup."""
    container = minirun.begin("alpine", "sleep", "60", name="theirs")
    dead = minirun.begin("alpine", "sleep", "60", name="dead")
    planted = plant_cgroups(host, A)
    os.kill(dead.monitor(), signal.SIGKILL)
    # What a container of the test before leaves is still being removed, by its own monitor.
    assert wait_for(lambda: not any(".removed-" in line for line in kept(host)), 30)
    before = kept(host)
    elsewhere = {"MINIRUN_ROOT": f"{host.data}/other", "MINIRUN_EXEC_ROOT": "/run/other"}
    assert check.repair(**elsewhere) == []
    assert kept(host) == before and container.running() and dead.running()
    for path in planted:
        os.rmdir(path)


def test_another_data_root_with_the_same_exec_root(minirun, host, check):
    """`minirun --root DIR` alone: run directories, addresses and cables of both are side by side."""
    container = minirun.begin("alpine", "sleep", "60", name="theirs")
    dead = minirun.begin("alpine", "sleep", "60", name="dead")
    os.kill(dead.monitor(), signal.SIGKILL)
    before = kept(host)
    assert check.repair(MINIRUN_ROOT=f"{host.data}/other") == []
    assert kept(host) == before and container.running() and dead.running()


def test_a_record_that_is_lost(minirun, host, check):
    """A running container is not killed for it; what is left of one that has ended is cleared."""
    container = minirun.begin("alpine", "sleep", "60")
    monitor, pid = container.monitor(), container.pid
    subprocess.run(["rm", "-r", host.data / "containers" / container.id], check=True)
    # Not even when the monitor goes to its rest, for which it executes a fresh interpreter.
    assert wait_for(lambda: b"shim.reexec" in Path(f"/proc/{monitor}/cmdline").read_bytes())
    assert check(repair=True) == ["name", "run"]
    assert container.running() and str(pid) in check.problems[0][3]
    os.kill(monitor, signal.SIGKILL)
    assert check.repair() == ["run"]
    host.assert_clean()


def test_features_of_this_machine(host, check):
    check()
    assert [name for name, ok, _ in check.features if not ok] == []
    assert {
        "namespace network",
        "overlay",
        "cgroups",
        "cgroup memory",
        "bridge",
        "veth",
        "nat",
        "iptables",
        "seccomp",
    } <= {name for name, _, _ in check.features}
    assert "try0" not in host.links() and "try1" not in host.links()


def test_a_feature_that_is_missing(new_host):
    iptables = os.path.realpath("/usr/sbin/iptables")
    new_host.run("mount", "--bind", "/dev/null", iptables, check=True)
    check = Check(new_host)
    check()
    new_host.run("umount", iptables, check=True)
    assert [name for name, ok, _ in check.features if not ok] == ["nat", "iptables"]
    assert not check.good
