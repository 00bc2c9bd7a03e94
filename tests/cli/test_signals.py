"""Signals: passed on to the program, and what an end by a signal looks like."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from harness.host import PATIENCE, wait_for


@pytest.fixture
def attached(minirun):
    """Begin an attached `run` of a shell script that says "ready" first."""
    begun = []

    def begin(script, *options):
        process = minirun.popen("run", "--name", "c1", *options, "alpine", "sh", "-c", script)
        begun.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


WAIT = "echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("number", [1, 2, 6, 9, 10, 12, 13, 14, 15, 31])  # busybox's shell ignores SIGQUIT, 3, always
def test_end_by_a_signal(minirun, number):
    """128 + n; a child's death, since pid 1 takes no signal that it has no handler for."""
    assert (
        minirun("run", "--rm", "alpine", "sh", "-c", f"sh -c 'kill -{number} $$; sleep 1'; exit $?").code
        == 128 + number
    )


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"])
def test_signals_are_passed_on(attached, word):
    process = attached(f"trap 'echo got; exit 7' {word[3:]}; {WAIT}")
    process.send_signal(getattr(signal, word))
    assert process.wait(timeout=PATIENCE) == 7
    assert process.stdout.read() == "got\n"


def test_a_signal_that_the_program_ignores(attached, minirun):
    """Docker's client stays when the program does: sleep as pid 1 takes no notice."""
    process = attached("echo ready; exec sleep 100")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    minirun.ok("kill", "c1")
    assert process.wait(timeout=PATIENCE) == 137


def test_early_signal(minirun, host):
    """A signal at any moment of a start ends the start or reaches the program; nothing is left half made."""
    for delay in (0.01, 0.03, 0.05, 0.07, 0.1, 0.15):
        process = minirun.popen("run", "--rm", "alpine", "sh", "-c", "trap 'exit 7' INT; while :; do sleep 0.05; done")
        time.sleep(delay)
        for _ in range(100):
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(timeout=PATIENCE) in (7, 130, -2, 125), process.communicate()
        process.communicate()
        host.assert_clean()


def test_no_signals_without_sig_proxy(attached, minirun):
    process = attached("trap 'exit 7' INT TERM; " + WAIT, "--sig-proxy=false")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) in (143, -15)
    assert minirun.ok("ps", "--format", "{{.Names}}") == "c1"


def test_start_attached_passes_signals_on(minirun):
    minirun.ok("create", "--name", "c1", "alpine", "sh", "-c", "trap 'exit 9' TERM; " + WAIT)
    process = minirun.popen("start", "-a", "c1")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 9
    process.communicate()


def test_a_stopped_client_does_not_stop_the_program(attached, minirun):
    """SIGSTOP of the CLI: output piles up somewhere, or the program waits; after SIGCONT all is there."""
    process = attached("echo ready; seq 1 50000; echo end; exit 3")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.split("\n")[-3:] == ["50000", "end", ""]
    assert process.returncode == 3


def test_children_of_pid_1_die_with_it(minirun, host):
    container = minirun.begin("alpine", "sh", "-c", "sleep 1001 & sleep 1002 & exec sleep 1003")
    wait_for(lambda: len(container.pids()) == 3)
    pids = container.pids()
    assert len(pids) == 3
    minirun.ok("kill", "c1")
    assert not set(pids) & set(host.pids())


def test_orphans_belong_to_pid_1(minirun):
    container = minirun.begin("alpine", "sh", "-c", "(sleep 100 &); exec sleep 200")
    loop = 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = sleep ] && '
    second = container.sh(f"{loop} echo ${{p#/proc/}}; done | grep -v '^1$'")
    assert container.sh(f"{loop} cut -d' ' -f1,4 $p/stat; done | sort") == f"1 0\n{second} 1"


def test_the_pipe_of_a_dead_reader(minirun, host):
    """`minirun run alpine yes | true`: the container is not kept alive by output that nobody reads... it goes on, as in
    Docker, until it ends by itself or is stopped; minirun does not hang."""
    process = minirun.popen(
        "run", "--name", "c1", "-d", "alpine", "sh", "-c", "yes | head -n 100000; exit 5", stderr=subprocess.STDOUT
    )
    process.communicate(timeout=PATIENCE)
    assert minirun.ok("wait", "c1", timeout=PATIENCE) == "5"
