"""What can be done to a container beside `run`: ps, logs, exec, stop, kill, start, restart, wait, rm, create."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness.host import PATIENCE, wait_for

READY = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def polite(minirun):
    """A container that ends at once when it gets SIGTERM."""
    container = minirun.begin("alpine", "sh", "-c", READY)
    assert wait_for(lambda: minirun("logs", "c1").out == "ready\n")
    return container


def state_of(minirun, name="c1"):
    return json.loads(minirun.ok("inspect", name))[0]["State"]


# ---- ps --------------------------------------------------------------------------------------------------------


def test_ps_of_nothing(minirun):
    assert minirun.ok("ps", "-a") == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"


def test_ps_table(minirun):
    running = minirun.begin("alpine", "sleep", "1000", name="run1")
    minirun("run", "--name", "ex3", "alpine", "sh", "-c", "exit 3")
    created = minirun.ok("create", "--name", "cr", "alpine", "echo", "a long command line")
    header, *rows = minirun.ok("ps", "-a").split("\n")
    assert re.split(r"\s{2,}", header) == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    cells = [re.split(r"\s{2,}", row) for row in rows]
    assert [row[-1] for row in cells] == ["cr", "ex3", "run1"]  # the newest first
    assert cells[0][:3] == [created[:12], "alpine", '"echo \'a long comman…"']
    assert cells[0][4] == "Created"
    assert re.fullmatch(r"Exited \(3\) (Less than a second|\d+ seconds?) ago", cells[1][4])
    assert cells[2][:3] == [running.id[:12], "alpine", '"sleep 1000"']
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", cells[2][4])
    assert [row.split()[0] for row in minirun.ok("ps").split("\n")[1:]] == [running.id[:12]]


def test_ps_q_no_trunc_l_n(minirun):
    first = minirun.ok("create", "--name", "w1", "alpine", "echo", "a long command line that is cut")
    second = minirun.ok("create", "--name", "w2", "alpine", "true")
    assert minirun.ok("ps", "-aq").split() == [second[:12], first[:12]]
    assert minirun.ok("ps", "-aq", "--no-trunc").split() == [second, first]
    assert minirun.ok("ps", "-lq").split() == [second[:12]]
    assert minirun.ok("ps", "-qn", "2").split() == [second[:12], first[:12]]
    assert "\"echo 'a long command line that is cut'\"" in minirun.ok("ps", "-a", "--no-trunc")
    assert minirun.ok("ps", "-q") == ""


def test_ps_filters_and_format(minirun):
    minirun.ok("create", "--name", "w1", "-l", "a=b", "alpine", "true")
    minirun("run", "--name", "x3", "alpine", "sh", "-c", "exit 3")
    assert minirun.ok("ps", "-a", "--format", "{{.Names}}", "-f", "exited=3") == "x3"
    assert minirun.ok("ps", "-a", "--format", "{{.Names}}", "-f", "status=created") == "w1"
    assert minirun.ok("ps", "-a", "--format", "{{.Names}}", "-f", "name=^w") == "w1"
    assert minirun.ok("ps", "-a", "--format", "{{.Names}} {{.Labels}}", "-f", "label=a=b") == "w1 a=b"
    assert minirun.ok("ps", "-a", "--format", "table {{.Names}}\t{{.State}}").split("\n") == [
        "NAMES     STATE",
        "x3        exited",
        "w1        created",
    ]


# ---- logs ------------------------------------------------------------------------------------------------------


def test_logs_keep_the_streams_apart(minirun):
    minirun("run", "--name", "w1", "alpine", "sh", "-c", "echo out1; echo err1 >&2; sleep 0.05; printf nonl")
    result = minirun("logs", "w1")
    assert (result.out, result.err, result.code) == ("out1\nnonl", "err1\n", 0)


def test_log_file_is_dockers(minirun, host):
    minirun(
        "run", "--name", "w1", "alpine", "sh", "-c", "echo out1; sleep 0.05; echo err1 >&2; sleep 0.05; printf nonl"
    )
    container_id = host.containers()[0]
    lines = (host.data / "containers" / container_id / f"{container_id}-json.log").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["log"], record["stream"]) for record in records] == [
        ("out1\n", "stdout"),
        ("err1\n", "stderr"),
        ("nonl", "stdout"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", record["time"]) for record in records)
    assert lines[0].startswith('{"log":"out1\\n","stream":"stdout","time":"')


@pytest.mark.parametrize(
    ("tail", "lines"), [("2", ["2", "3"]), ("0", []), ("all", ["1", "2", "3"]), ("bad", ["1", "2", "3"])]
)
def test_logs_tail(minirun, tail, lines):
    minirun("run", "--name", "w1", "alpine", "seq", "3")
    assert minirun.ok("logs", "--tail", tail, "w1").split() == lines


def test_logs_follow_until_the_end(minirun):
    container = minirun.begin(
        "alpine", "sh", "-c", "echo 1; echo 2; until [ -e /go ]; do sleep 0.05; done; echo 3; echo 4; exit 3"
    )
    wait_for(lambda: minirun.ok("logs", "c1").split() == ["1", "2"])
    with minirun.popen("logs", "-f", "--tail", "1", "c1") as follower:
        assert follower.stdout.readline() == "2\n"
        container.sh("touch /go")
        out, err = follower.communicate(timeout=PATIENCE)
    assert (out, err, follower.returncode) == ("3\n4\n", "", 0)


def test_logs_timestamps(minirun):
    minirun("run", "--name", "w1", "alpine", "echo", "x")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z x", minirun.ok("logs", "-t", "w1"))


def test_logs_of_one_never_started(minirun):
    minirun.ok("create", "--name", "w1", "alpine", "true")
    assert minirun.ok("logs", "w1") == ""


# ---- exec ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(minirun):
    """A container that does nothing for long."""
    return minirun.begin("-e", "A=run", "-w", "/tmp", "alpine", "sleep", "1000")


def test_exec_is_in_all_namespaces_of_the_container(sleeper):
    out = sleeper.sh("cd /proc/self/ns; for n in mnt pid net uts ipc cgroup; do readlink $n; done")
    assert out.split() == [
        os.readlink(f"/proc/{sleeper.pid}/ns/{word}") for word in ("mnt", "pid", "net", "uts", "ipc", "cgroup")
    ]


def test_exec_is_in_the_cgroup_and_as_confined(sleeper, minirun):
    process = minirun.popen("exec", "-i", "c1", "sh", "-c", "echo $$; cat", stdin=subprocess.PIPE)
    process.stdout.readline()
    pids = sleeper.pids()
    assert len(pids) >= 2
    second = next(pid for pid in pids if pid != sleeper.pid)
    first, other = Path(f"/proc/{sleeper.pid}/status"), Path(f"/proc/{second}/status")
    wanted = r"^(Cap\w+|NoNewPrivs|Seccomp|Groups|Uid|Gid):.*"
    assert re.findall(wanted, first.read_text(), re.M) == re.findall(wanted, other.read_text(), re.M)
    assert [line for line in first.read_text().splitlines() if line.startswith("Cap")] == [
        line for line in other.read_text().splitlines() if line.startswith("Cap")
    ]
    own = Path(f"/proc/{other.parent.name}/cgroup").read_text()
    assert own == Path(f"/proc/{sleeper.pid}/cgroup").read_text()
    process.communicate(timeout=PATIENCE)


def test_exec_exit_codes(sleeper, minirun):
    assert minirun("exec", "c1", "sh", "-c", "exit 5").code == 5
    assert minirun("exec", "c1", "sh", "-c", "kill -9 $$").code == 137


def test_exec_environment_and_place(sleeper, minirun):
    out = minirun.ok("exec", "-e", "B=exec", "c1", "sh", "-c", "echo $A $B $HOME; pwd")
    assert out == "run exec /root\n/tmp"
    assert minirun.ok("exec", "-e", "A=exec", "-w", "/etc", "c1", "sh", "-c", "echo $A; pwd") == "exec\n/etc"


def test_exec_user(sleeper, minirun):
    assert minirun.ok("exec", "-u", "nobody", "c1", "id", "-u") == "65534"
    assert minirun.ok("exec", "-u", "1234:5678", "c1", "id").startswith("uid=1234 gid=5678")


def test_exec_stdin(sleeper, minirun):
    assert minirun("exec", "c1", "cat", input="in").out == ""
    assert minirun("exec", "-i", "c1", "cat", input="in").out == "in"


def test_exec_streams(sleeper, minirun):
    result = minirun("exec", "c1", "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


def test_exec_is_a_session_of_its_own(sleeper):
    pid, _, _, parent, group, session = sleeper.sh("read line < /proc/$$/stat; echo $line").split()[:6]
    assert parent == "0"
    assert group == session == pid


def test_exec_detached(sleeper, minirun):
    assert minirun.ok("exec", "-d", "c1", "sh", "-c", "echo done > /tmp/mark; sleep 100") == ""
    assert wait_for(lambda: minirun("exec", "c1", "cat", "/tmp/mark").out == "done\n")
    assert wait_for(lambda: len(sleeper.pids()) >= 2)


def test_exec_processes_end_with_the_container(sleeper, minirun, host):
    process = minirun.popen("exec", "c1", "sleep", "1000")
    time.sleep(0.2)
    minirun.ok("kill", "c1")
    assert process.wait(timeout=PATIENCE) == 137
    process.communicate()


def test_exec_in_a_stopped_container(sleeper, minirun):
    minirun.ok("kill", "c1")
    result = minirun("exec", "c1", "true")
    assert (result.err, result.code) == (f"Error response from daemon: Container {sleeper.id} is not running\n", 1)


# ---- stop, kill, start, restart, wait ---------------------------------------------------------------------------


def test_stop_sends_sigterm_first(polite, minirun):
    assert minirun.ok("stop", "c1") == "c1"
    assert state_of(minirun)["ExitCode"] == 0


@pytest.mark.timing("stop -t 1 must take less than the default grace period of 10 s")
def test_stop_kills_what_does_not_end(minirun):
    container = minirun.begin("alpine", "sleep", "1000")
    began = time.monotonic()
    assert minirun.ok("stop", "-t", "1", container.id[:6]) == container.id[:6]  # as typed
    assert 1 <= time.monotonic() - began < 10  # Docker's patience, if nothing is said
    assert state_of(minirun)["ExitCode"] == 137
    assert minirun.ok("stop", "c1") == "c1"


def test_stop_signal_and_timeout_of_the_container(minirun):
    minirun.begin(
        "--stop-signal",
        "USR1",
        "--stop-timeout",
        "60",
        "alpine",
        "sh",
        "-c",
        "trap 'exit 42' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done",
    )
    assert wait_for(lambda: minirun("logs", "c1").out)
    minirun.ok("stop", "c1")
    assert minirun.ok("wait", "c1") == "42"


@pytest.mark.timing("three grace periods must run at the same time, not one after the other")
def test_stop_several_at_once(minirun):
    for name in ("w1", "w2", "w3"):
        minirun.begin("alpine", "sleep", "100", name=name)
    began = time.monotonic()
    assert sorted(minirun.ok("stop", "-t", "4", "w1", "w2", "w3").split()) == ["w1", "w2", "w3"]
    assert time.monotonic() - began < 3 * 4


def test_stop_of_a_created_container(minirun):
    minirun.ok("create", "--name", "w1", "alpine", "true")
    assert minirun.ok("stop", "w1") == "w1"


@pytest.mark.parametrize("word", ["USR1", "SIGUSR1", "10"])
def test_kill_signals(minirun, word):
    minirun.begin("alpine", "sh", "-c", "trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.05; done")
    assert wait_for(lambda: minirun("logs", "c1").out)
    assert minirun.ok("kill", "-s", word, "c1") == "c1"
    assert minirun.ok("wait", "c1") == "7"
    assert minirun.ok("logs", "c1") == "ready\ngot"


def test_kill_is_sigkill(minirun):
    minirun.begin("alpine", "sleep", "100")
    assert minirun.ok("kill", "c1") == "c1"
    assert minirun.ok("wait", "c1") == "137"
    again = minirun("kill", "c1")
    assert again.code == 1
    assert re.fullmatch(
        r"Error response from daemon: Cannot kill container: c1: Container [0-9a-f]{64} is not running\n", again.err
    )


def test_pid_1_ignores_what_it_has_no_handler_for(minirun):
    container = minirun.begin("alpine", "sleep", "100")
    minirun.ok("kill", "-s", "INT", "c1")
    minirun.ok("kill", "-s", "TERM", "c1")
    container.sh("kill -9 1")
    time.sleep(0.1)
    assert container.running()


def test_host_config_is_in_a_file_of_its_own_as_dockers(minirun, host):
    container = minirun.begin("--memory", "64m", "alpine", "sleep", "100")
    directory = host.data / "containers" / container.id
    record, host_config = (json.loads((directory / name).read_text()) for name in ("config.v2.json", "hostconfig.json"))
    assert record["Config"]["Cmd"] == ["sleep", "100"] and "HostConfig" not in record
    assert host_config["Memory"] == 64 << 20
    assert json.loads(minirun.ok("inspect", "c1"))[0]["HostConfig"] == host_config
    minirun.ok("stop", "-t", "0", "c1")
    assert json.loads((directory / "hostconfig.json").read_text()) == host_config
    os.unlink(directory / "hostconfig.json")
    assert [line.split()[0] for line in minirun.ok("ps", "-a").splitlines()[1:]] == [container.id[:12]]  # does without
    (directory / "hostconfig.json").write_text(json.dumps(host_config))


def test_start_again(minirun):
    """The writable layer is what it was; address and processes are new."""
    minirun("run", "--name", "w1", "alpine", "sh", "-c", "echo x >> /count; wc -l < /count; exit 4")
    assert minirun.ok("start", "w1") == "w1"
    assert minirun.ok("wait", "w1") == "4"
    assert minirun.ok("logs", "w1").split() == ["1", "2"]


def test_start_of_a_running_one(minirun):
    container = minirun.begin("alpine", "sleep", "100")
    pid = container.pid
    assert minirun.ok("start", "c1") == "c1"
    assert container.pid == pid


def test_start_attached(minirun):
    minirun.ok("create", "--name", "w1", "alpine", "sh", "-c", "echo out; echo err >&2; exit 6")
    result = minirun("start", "-a", "w1")
    assert (result.out, result.err, result.code) == ("out\n", "err\n", 6)


def test_start_attached_with_input(minirun):
    minirun.ok("create", "-i", "--name", "w1", "alpine", "cat")
    for text in ("first\n", "second\n"):
        result = minirun("start", "-ai", "w1", input=text)
        assert (result.out, result.code) == (text, 0)


def test_restart(polite, minirun):
    before, old = state_of(minirun), polite.pid
    assert minirun.ok("restart", "c1") == "c1"
    after = state_of(minirun)
    assert polite.running()
    assert polite.pid != old
    assert after["StartedAt"] > before["StartedAt"]
    assert after["Pid"] == polite.pid


def test_restart_of_a_stopped_one(minirun):
    minirun("run", "--name", "w1", "alpine", "sh", "-c", "exit 2")
    assert minirun.ok("restart", "w1") == "w1"
    assert minirun.ok("wait", "w1") == "2"


def test_wait(minirun):
    minirun.begin("alpine", "sh", "-c", "sleep 0.3; exit 9", name="w1")
    minirun.begin("alpine", "sh", "-c", "exit 8", name="w2")
    assert minirun.ok("wait", "w1", "w2").split() == ["9", "8"]
    assert minirun.ok("wait", "w1") == "9"


# ---- rm, create, inspect ---------------------------------------------------------------------------------------


def test_rm(minirun, host):
    minirun("run", "--name", "w1", "alpine", "true")
    assert minirun.ok("rm", "w1") == "w1"
    host.assert_clean()


def test_rm_of_a_running_one(minirun, host):
    container = minirun.begin("alpine", "sleep", "100")
    result = minirun("rm", "c1")
    assert (result.err, result.code) == (
        f"Error response from daemon: You cannot remove a running container {container.id}. Stop the container before "
        "attempting removal or force remove\n",
        1,
    )
    assert container.running()
    assert minirun.ok("rm", "-f", "c1") == "c1"
    host.assert_clean()


def test_rm_some_fail(minirun):
    minirun("run", "--name", "w1", "alpine", "true")
    result = minirun("rm", "nosuch", "w1")
    assert (result.out, result.err, result.code) == ("w1\n", "Error: No such container: nosuch\n", 1)
    result = minirun("rm", "-f", "nosuch")
    assert (result.out, result.err, result.code) == ("", "Error: No such container: nosuch\n", 0)


def test_create_starts_nothing(minirun, host):
    before = host.pids()
    container_id = minirun.ok("create", "--name", "w1", "alpine", "true")
    assert host.pids() == before
    assert host.cgroups() == []
    assert host.addresses() == []
    state = state_of(minirun, "w1")
    assert (state["Status"], state["Pid"], state["StartedAt"]) == ("created", 0, "0001-01-01T00:00:00Z")
    assert host.containers() == [container_id]


def test_inspect_a_running_one(minirun, host):
    container = minirun.begin("-m", "64m", "-l", "k=v", "alpine", "sleep", "1000")
    found = json.loads(minirun.ok("inspect", "c1"))[0]
    assert found["Id"] == container.id
    assert found["Name"] == "/c1"
    assert (found["Path"], found["Args"]) == ("sleep", ["1000"])
    state = found["State"]
    assert (state["Status"], state["Running"], state["Pid"]) == ("running", True, container.pid)
    assert found["HostConfig"]["Memory"] == 64 << 20
    assert found["HostConfig"]["MemorySwap"] == 128 << 20
    assert found["Config"]["Labels"] == {"k": "v"}
    assert found["NetworkSettings"]["IPAddress"] == "172.17.0.2"
    assert found["NetworkSettings"]["MacAddress"] == "02:42:ac:11:00:02"
    assert container.sh("cat /sys/class/net/eth0/address") == "02:42:ac:11:00:02"
    assert minirun.ok("inspect", "-f", "{{.State.Status}} {{.NetworkSettings.IPAddress}}", "c1") == "running 172.17.0.2"


def test_inspect_after_the_end(minirun):
    minirun("run", "--name", "w1", "alpine", "sh", "-c", "exit 3")
    found = json.loads(minirun.ok("inspect", "w1"))[0]
    state = found["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("exited", False, 0, 3)
    assert state["StartedAt"] < state["FinishedAt"]
    assert found["NetworkSettings"]["IPAddress"] == ""


def test_id_prefixes(minirun):
    container_id = minirun.ok("create", "--name", "w1", "alpine", "true")
    for word in (container_id, container_id[:12], container_id[:3], "w1", "/w1"):
        assert json.loads(minirun.ok("inspect", word))[0]["Id"] == container_id


def test_an_exact_name_wins_over_a_prefix(minirun):
    first = minirun.ok("create", "alpine", "true")
    second = minirun.ok("create", "--name", first[:4], "alpine", "true")
    assert json.loads(minirun.ok("inspect", first[:4]))[0]["Id"] == second


def test_status_is_the_kernels(minirun, host):
    """`ps` must not say "Up" of a container whose process has gone, whatever any file says."""
    container = minirun.begin("alpine", "sleep", "1000")
    os.kill(container.pid, 9)
    assert minirun.ok("wait", "c1") == "137"
    assert minirun.ok("ps", "-q") == ""
    assert state_of(minirun)["ExitCode"] == 137
