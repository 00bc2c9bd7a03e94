"""What is printed when something failed, and the exit code, verb by verb."""

import pytest

from minirun.cli import commands, main
from minirun.cli.error_text import complaint, exit_code
from minirun.errors import (
    BadParameter,
    ClientError,
    EngineError,
    KernelError,
    MinirunError,
    NoSuchContainer,
    NoSuchImage,
    ProgramError,
    UsageError,
)

SEE = "\nSee 'minirun run --help'."
SHIM = (
    "minirun: Error response from daemon: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: "
)
NOT_FOUND = 'exec: "nosuchcmd": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("error", "verb", "text", "code"),
    [
        (
            BadParameter("Minimum memory limit allowed is 6MB"),
            "run",
            "minirun: Error response from daemon: Minimum memory limit allowed is 6MB." + SEE,
            125,
        ),
        (
            BadParameter("Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
            "create",
            "Error response from daemon: Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            1,
        ),
        (
            BadParameter("Conflict. You have to remove (or rename) that container to be able to reuse that name."),
            "run",
            "minirun: Error response from daemon: Conflict. You have to remove (or rename) that container to be able to reuse "
            "that name." + SEE,
            125,
        ),
        (NoSuchImage("x:latest"), "run", "minirun: Error response from daemon: No such image: x:latest." + SEE, 125),
        (NoSuchImage("x:latest"), "create", "Error response from daemon: No such image: x:latest", 1),
        (
            EngineError("cannot join network of a non running container"),
            "run",
            "minirun: Error response from daemon: cannot join network of a non running container.",
            125,
        ),
        (
            ClientError("invalid reference format: repository name must be lowercase"),
            "run",
            "minirun: invalid reference format: repository name must be lowercase." + SEE,
            125,
        ),
        (ClientError("invalid reference format"), "container run", "minirun: invalid reference format." + SEE, 125),
        (
            ClientError("open /nope: no such file or directory"),
            "create",
            "minirun: open /nope: no such file or directory.\nSee 'minirun create --help'.",
            125,
        ),
        (ClientError("open /nope: no such file or directory"), "exec", "open /nope: no such file or directory", 1),
        (ClientError("Conflicting options: -a and -d", exit_code=1), "run", "Conflicting options: -a and -d", 1),
        (UsageError("unknown flag: --x"), "rm", "unknown flag: --x\nSee 'minirun rm --help'.", 125),
        (UsageError("unknown flag: --x"), "", "unknown flag: --x\nSee 'minirun --help'.", 125),
        (NoSuchContainer("x"), "logs", "Error: No such container: x", 1),
        (NoSuchContainer("x"), "rm", "Error: No such container: x", 1),
        (NoSuchContainer("x"), "container exec", "Error: No such container: x", 1),
        (NoSuchContainer("x"), "stop", "Error response from daemon: No such container: x", 1),
        (NoSuchContainer("x"), "wait", "Error response from daemon: No such container: x", 1),
        (
            EngineError("Multiple IDs found with provided prefix: f", exit_code=1),
            "logs",
            "Error response from daemon: Multiple IDs found with provided prefix: f",
            1,
        ),
        (ProgramError(NOT_FOUND, exit_code=127), "run", SHIM + NOT_FOUND + ": unknown.", 127),
        (
            ProgramError(NOT_FOUND, exit_code=127),
            "exec",
            f"OCI runtime exec failed: exec failed: unable to start container process: {NOT_FOUND}: unknown",
            126,
        ),
        (
            ProgramError("unable to find user nosuch: no matching entries in passwd file", exit_code=126),
            "exec",
            "unable to find user nosuch: no matching entries in passwd file",
            126,
        ),
        (
            ProgramError(NOT_FOUND, exit_code=127),
            "start",
            SHIM.removeprefix("minirun: ") + NOT_FOUND + ": unknown",
            127,
        ),
        (MinirunError("the disk is full"), "ps", "minirun: the disk is full", 1),
    ],
)
def test_wordings(error, verb, text, code):
    assert (complaint(error, verb), exit_code(error, verb)) == (text, code)


def test_our_own_errors_say_in_which_step_and_what_to_do():
    error = KernelError("mount /proc", 1, hint="minirun needs root rights")
    error.trail = ["build the rootfs"]
    assert complaint(error, "run") == (
        "minirun: build the rootfs: mount /proc: operation not permitted\nhint: minirun needs root rights"
    )
    assert exit_code(error, "run") == 125


def test_a_mistake_of_ours_is_one_line_without_debug(monkeypatch, capsys):
    monkeypatch.setattr(commands.load("ps"), "act", lambda daemon, options: 1 // 0)
    assert main.serve(["ps"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "minirun: ZeroDivisionError: integer division or modulo by zero\n"
        "hint: this is a mistake in minirun itself; --debug shows where\n"
    )
    assert main.serve(["--debug", "ps"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    def act(_daemon, _options):
        raise PermissionError(13, "Permission denied", "/var/lib/minirun/containers")

    monkeypatch.setattr(commands.load("ps"), "act", act)
    assert main.serve(["ps"]) == 1
    assert capsys.readouterr().err == (
        "minirun: /var/lib/minirun/containers: permission denied\nhint: minirun needs root rights\n"
    )


def test_interrupted(monkeypatch, capsys):
    def act(_daemon, _options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.load("ps"), "act", act)
    assert main.serve(["ps"]) == 130
    assert capsys.readouterr() == ("", "")


def test_exec_says_why_where_the_programs_output_would_have_gone(monkeypatch, capsys):
    def act(_daemon, _options):
        raise ProgramError(NOT_FOUND, exit_code=127)

    monkeypatch.setattr(commands.load("exec"), "act", act)
    assert main.serve(["exec", "x", "y"]) == 126
    out, err = capsys.readouterr()
    assert (out.startswith("OCI runtime exec failed"), err) == (True, "")
