"""The exceptions of minirun: one tree, each with the hint and exit code that a person needs.

    MinirunError                  message, `trail` of steps, `hint`, exit code (Docker's 125 by default)
    ├── KernelError               a system call failed: the call, its arguments, errno
    ├── ProgramError              the container's program cannot be started (126 not executable, 127 not found)
    ├── EngineError               refused by the engine (dockerd): printed as "Error response from daemon: ..."
    │   ├── BadParameter          refused before anything was made: `run` adds "See 'minirun run --help'."
    │   ├── NoSuchContainer       Docker has two texts for it; the verb decides which is printed
    │   ├── NoSuchImage
    │   ├── NoSuchNetwork
    │   └── NoSuchVolume
    └── ClientError               refused by the client (docker), which asks no daemon: printed as it is
        └── UsageError            the command line is wrong: adds "See 'minirun VERB --help'."

Messages are lower case unless Docker's own text starts with a capital, have no full stop, and name the object.
An error is sent to another process as data (`to_data`, `from_data`) and raised there again with its trail and hint, so
that a failure in the container's init reads like one of the command.
"""

from __future__ import annotations

from minirun.light import os

ROOT_HINT = "minirun needs root rights"


class MinirunError(Exception):
    """Something failed.

    Arguments: message (str), one line for a person; hint (str), what to do about it, printed on a line of its own;
    exit_code (int). `.trail` (list of str): the titles of the steps in which it happened, outermost first.
    """

    exit_code = 125

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.trail: list[str] = []
        if exit_code is not None:
            self.exit_code = exit_code

    def to_data(self) -> dict[str, object]:
        """The error as a dict for JSON."""
        return {
            "kind": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "trail": self.trail,
            "exit_code": self.exit_code,
        }


class KernelError(MinirunError):
    """A system call failed: "mount /proc: operation not permitted".

    Arguments: call (str), its name and its main arguments; errno (int); hint (str).
    """

    def __init__(self, call: str, errno: int, *, hint: str = "") -> None:
        super().__init__(f"{call}: {os.strerror(errno).lower()}", hint=hint)
        self.call = call
        self.errno = errno

    def to_data(self) -> dict[str, object]:
        return {**super().to_data(), "call": self.call, "errno": self.errno}


#: How containerd and runc wrap the reason why a program cannot be started, on `run` and on `exec`: Docker hands on all
#: of it, and scripts look for it.
RUN_FAILED = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "
    "process: {}: unknown"
)
EXEC_FAILED = "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown"


class ProgramError(MinirunError):
    """The container's program cannot be started: exit code 127 (not found) or 126 (found, not executable).

    The message is runc's reason alone; `RUN_FAILED` and `EXEC_FAILED` are what Docker wraps around it.
    """


class EngineError(MinirunError):
    """An error of the engine, which Docker's daemon would answer with."""


class BadParameter(EngineError):
    """A parameter is invalid: refused before anything was made (HTTP status 400 in Docker)."""


class NoSuchContainer(EngineError):
    """No container has this name or id prefix. Arguments: word (str), as the user typed it."""

    def __init__(self, word: str, **_: object) -> None:
        super().__init__(word if word.startswith("No such container: ") else f"No such container: {word}")


class NoSuchImage(EngineError):
    """No image has this reference or id prefix. Arguments: word (str), as the user typed it."""

    def __init__(self, word: str, **_: object) -> None:
        super().__init__(word if word.startswith("No such image: ") else f"No such image: {word}")


class NoSuchNetwork(EngineError):
    """No network has this name or id prefix. Arguments: word (str), as the user typed it."""

    def __init__(self, word: str, **_: object) -> None:
        super().__init__(word if word.endswith(" not found") else f"network {word} not found")


class NoSuchVolume(EngineError):
    """No volume has this name. Arguments: word (str), as the user typed it."""

    def __init__(self, word: str, **_: object) -> None:
        super().__init__(word if word.startswith("No such volume: ") else f"No such volume: {word}")


class ClientError(MinirunError):
    """An error that Docker's client finds by itself, before it asks the daemon."""


class UsageError(ClientError):
    """The command line is wrong: an unknown flag, a missing argument."""


def from_data(data: dict) -> MinirunError:
    """The error of which `to_data` has made a dict."""
    kinds = {
        kind.__name__: kind
        for kind in (
            MinirunError,
            ProgramError,
            EngineError,
            BadParameter,
            NoSuchContainer,
            NoSuchImage,
            NoSuchNetwork,
            NoSuchVolume,
            ClientError,
            UsageError,
        )
    }
    error: MinirunError
    if data["kind"] == "KernelError":
        error = KernelError(data["call"], data["errno"], hint=data["hint"])
    else:
        error = kinds.get(data["kind"], MinirunError)(data["message"], hint=data["hint"])
    error.trail = list(data["trail"])
    error.exit_code = data["exit_code"]
    return error


def as_minirun_error(error: Exception) -> MinirunError:
    """Any exception as a MinirunError, to be sent to another process; an unexpected one is a mistake in minirun."""
    if isinstance(error, MinirunError):
        return error
    if isinstance(error, OSError):
        return KernelError(str(error.filename or "system call"), error.errno or 0)
    return MinirunError(f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself")
