"""`-t`: a real pseudo terminal on both sides, typed into as a person would."""

from __future__ import annotations

import os
import re
import signal
import termios
import time

import pytest

pytestmark = pytest.mark.timing("what is typed and what is shown cross at a terminal, and no prompt says who reads")


@pytest.fixture
def shell(terminal):
    """A shell in a container at a terminal, at its prompt."""
    one = terminal("run", "-it", "--name", "c1", "-e", "PS1=@> ", "alpine", "sh")
    one.read_until("@> ")
    return one


def test_a_session(shell):
    shell.type("echo $((6*7)); tty; id -u\r")
    assert shell.read_until("@> ") == "echo $((6*7)); tty; id -u\r\n42\r\n/dev/pts/0\r\n0\r\n@> "
    shell.type("exit 4\r")
    assert shell.wait() == 4
    assert shell.restored()


def test_end_of_input_ends_the_shell(shell):
    shell.type("false\r")
    shell.read_until("@> ")
    shell.type("\x04")
    assert shell.wait() == 1
    assert shell.restored()


def test_our_terminal_is_raw_meanwhile(shell):
    lflag = termios.tcgetattr(shell.slave)[3]
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)


def test_size_at_the_start_and_later(shell):
    shell.type("stty size\r")
    assert "\n30 100\r" in shell.read_until("@> ")
    shell.resize(40, 120)
    shell.type("until stty size | grep '40 12[0]'; do sleep 0.02; done\r")  # the window says so a moment later
    shell.read_until("\n40 120\r")  # the editor may have drawn its prompt anew before


def test_the_first_instruction_sees_the_size(terminal):
    one = terminal("run", "-it", "--rm", "alpine", "stty", "size")
    assert "30 100" in one.read_until("\n")
    assert one.wait() == 0


def test_a_new_size_is_told_to_the_program(terminal):
    one = terminal(
        "run",
        "-it",
        "--rm",
        "alpine",
        "sh",
        "-c",
        "trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done",
    )
    one.read_until("ready")
    one.resize(50, 132)
    assert "now 50 132" in one.read_until("132")
    one.process.terminate()


def test_ctrl_c_interrupts_a_child(shell):
    shell.begin_to_sleep("; echo rc=$?")
    shell.type("\x03")
    text = shell.read_until("@> ")
    assert "^C" in text
    shell.type("echo still $?\r")
    assert "still 130" in shell.read_until("@> ")


def test_ctrl_c_does_not_end_a_deaf_pid_1(terminal, minirun):
    one = terminal("run", "-it", "--name", "c1", "alpine", "sh", "-c", "echo begun; exec sleep 100")
    one.read_until("begun\r\n")
    one.type("\x03\x03\x03")
    time.sleep(0.3)
    assert one.process.poll() is None
    minirun.ok("kill", "c1")
    assert one.wait() == 137
    assert one.restored()


def test_job_control(shell):
    shell.begin_to_sleep()
    shell.type("\x1a")
    assert "Stopped" in shell.read_until("@> ")
    shell.type("jobs\r")
    assert re.search(r"Stopped\s+sh -c", shell.read_until("@> "))
    shell.type("fg\r")
    shell.read_until("sleep 100.*\r\n")
    shell.type("\x03")
    shell.read_until("@> ")
    shell.type("sleep 0.2 && echo background-done &\r")
    shell.read_until("background-done")


def test_no_complaint_about_job_control(terminal):
    one = terminal("run", "-it", "--rm", "alpine", "sh")
    text = one.read_until("# ")
    assert "can't access tty" not in text
    assert "job control" not in text


def test_ctrl_backslash(shell):
    shell.begin_to_sleep()
    shell.type("\x1c")
    assert "^\\" in shell.read_until("@> ")


def test_detach_keys(shell, minirun):
    shell.type("\x10\x11")
    assert shell.wait() == 0
    assert shell.restored()
    assert shell.rest().strip() in ("", "read escape sequence")
    assert minirun.ok("ps", "--format", "{{.Names}}") == "c1"


def test_detach_keys_that_are_none(shell):
    """ctrl-p alone is the shell's own: the line before."""
    shell.type("echo first\r")
    shell.read_until("@> ")
    shell.type("\x10x\r")
    shell.read_until("\nfirstx\r")


def test_other_detach_keys(terminal, minirun):
    one = terminal("run", "-it", "--name", "c1", "--detach-keys", "ctrl-a,d", "-e", "PS1=@> ", "alpine", "sh")
    one.read_until("@> ")
    one.type("\x10\x11")
    time.sleep(0.2)
    assert one.process.poll() is None
    one.type("\x01d")
    assert one.wait() == 0


def test_attach_again_by_start(shell, terminal, minirun):
    shell.type("x=kept\r")
    shell.read_until("@> ")
    shell.type("\x10\x11")
    assert shell.wait() == 0
    two = terminal("start", "-ai", "c1")
    time.sleep(0.2)
    two.type("echo $x\r")
    assert "kept\r\n" in two.read_until("kept\r\n")
    two.type("exit\r")
    assert two.wait() == 0
    assert two.restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_restored_when_the_client_is_ended(terminal, minirun, number):
    """The signal is for the program, which may end of it; whether it does or not, the terminal must not stay raw."""
    one = terminal(
        "run",
        "-it",
        "--name",
        "c1",
        "alpine",
        "sh",
        "-c",
        f"trap 'exit 3' {number.name[3:]}; echo ready; while :; do sleep 0.05; done",
    )
    one.read_until("ready")
    one.process.send_signal(number)
    assert one.wait() == 3
    assert one.restored()


def test_terminal_is_restored_after_an_error(terminal):
    one = terminal("run", "-it", "--rm", "alpine", "nosuchcmd")
    text = one.read_until(r"unknown\.\r\n")
    assert "executable file not found" in text
    assert one.wait() == 127
    assert one.restored()


def test_terminal_is_restored_when_the_monitor_dies(shell, host):
    monitor = next(pid for pid, name in host.pids().items() if name.startswith("minirun:monitor"))
    os.kill(monitor, 9)
    assert shell.wait() == 137
    assert shell.restored()


def test_output_is_crlf_and_merged(minirun, terminal):
    result = minirun.machine.run(
        "sh", "-c", f"{' '.join(minirun.words)} run -t --rm alpine sh -c 'echo out; echo err >&2' | od -c"
    )
    assert "o   u   t  \\r  \\n   e   r   r  \\r  \\n" in result.stdout
    one = terminal("run", "-it", "--rm", "alpine", "sh", "-c", "echo out; echo err >&2")
    assert "out\r\nerr\r\n" in one.read_until("err\r\n")
    assert one.wait() == 0


def test_log_of_a_terminal(minirun, terminal):
    one = terminal("run", "-it", "--name", "c1", "alpine", "sh", "-c", "echo out; echo err >&2")
    one.wait()
    result = minirun.machine.run(*minirun.words, "logs", "c1")
    assert (result.stdout.replace("\r\n", "\n"), result.stderr) == ("out\nerr\n", "")


def test_t_without_i_takes_ctrl_c_as_a_signal(terminal):
    one = terminal(
        "run", "-t", "--rm", "alpine", "sh", "-c", "trap 'exit 130' INT; echo ready; while :; do sleep 0.05; done"
    )
    one.read_until("ready")
    one.type("\x03")
    assert one.wait() == 130
    assert one.restored()


def test_environment_of_a_terminal(terminal):
    one = terminal("run", "-it", "--rm", "-h", "box", "alpine", "env")
    assert one.read_until("HOME=/root\r\n").split("\r\n") == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "TERM=xterm",
        "HOME=/root",
        "",
    ]
    one.wait()


def test_not_a_terminal(minirun, host):
    result = minirun("run", "-it", "alpine", "sh", input="echo x\n")
    assert (result.out, result.err, result.code) == ("", "the input device is not a TTY\n", 1)
    host.assert_clean()
    minirun.begin("alpine", "sleep", "100")
    result = minirun("exec", "-it", "c1", "sh", input="echo x\n")
    assert (result.err, result.code) == ("the input device is not a TTY\n", 1)


def test_t_without_a_terminal_of_ours(minirun):
    """-t alone gives the program a terminal, whatever ours is."""
    result = minirun.machine.run("sh", "-c", f"{' '.join(minirun.words)} run --rm -t alpine tty < /dev/null")
    assert result.returncode == 0
    assert "/dev/pts/0" in result.stdout


def test_exec_with_a_terminal(terminal, minirun):
    minirun.begin("-t", "alpine", "sleep", "100")
    one = terminal("exec", "-it", "-e", "PS1=@> ", "c1", "sh")
    one.read_until("@> ")
    one.type("tty; stty size; echo $TERM\r")
    assert one.read_until("@> ").split("\r\n")[1:-1] == ["/dev/pts/1", "30 100", "xterm"]
    one.resize(25, 90)
    one.type("until stty size | grep '25 9[0]'; do sleep 0.02; done\r")
    one.read_until("\n25 90\r\n@> ")
    one.begin_to_sleep()
    one.type("\x03")
    one.read_until("@> ")
    one.type("exit 6\r")
    assert one.wait() == 6
    assert one.restored()


def test_much_output(terminal):
    one = terminal("run", "-it", "--rm", "alpine", "seq", "1", "20000")
    text = one.read_until("\n20000\r\n")
    assert text.split("\r\n")[:-1][-20000:] == [str(number) for number in range(1, 20001)]
    assert one.wait() == 0


def test_a_long_paste(shell):
    shell.type(
        "cat > /tmp/x << END\r"
        + "".join(f"line {number} of a long paste\r" for number in range(300))
        + "END\rwc -l < /tmp/x\r"
    )
    shell.read_until("\n300\r\n")


def test_the_window_is_closed(terminal, minirun):
    """The terminal goes away while the container runs: the client ends, the container goes on."""
    one = terminal("run", "-it", "--name", "c1", "alpine", "sh", "-c", "trap '' HUP; echo ready; sleep 100")
    one.read_until("ready")
    os.kill(one.process.pid, signal.SIGKILL)
    one.wait()
    assert minirun.ok("ps", "--format", "{{.Names}}") == "c1"
