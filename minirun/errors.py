"""One tree of errors; each carries what a person needs in order to go on.

    MinirunError                  what failed; `trail` of steps, `hint`, exit code (Docker's 125 unless said otherwise)
    ├── KernelError               a system call failed: the call, its arguments, errno
    ├── ProgramError              the container's program cannot be started (126 not executable, 127 not found)
    ├── EngineError               what Docker's daemon would refuse: printed as "Error response from daemon: ..."
    │   ├── BadParameter          refused before anything was made: `run` adds "See 'minirun run --help'."
    │   ├── NoSuchContainer       the verb decides which of Docker's two wordings is printed
    │   ├── NoSuchImage
    │   ├── NoSuchNetwork
    │   └── NoSuchVolume
    └── ClientError               what Docker's client would refuse by itself: printed as it is
        └── UsageError            the words of the command line are off: adds "See 'minirun VERB --help'."

Messages are lower case unless Docker's own text starts with a capital, have no full stop, and name the thing.
An error that crosses a process border travels as data (`to_data`, `from_data`) and is raised again on the other
side with its trail and hint (so that a failure in the container's half of a start reads like one in ours).
"""

from __future__ import annotations

from minirun.light import os

ROOT_HINT = "minirun needs root rights"


class MinirunError(Exception):
    """Something failed; `str(error)` is one line for a person.

    Arguments: message (str); hint (str), what to do about it, printed on its own line; exit_code (int).
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
        """The error as plain data, fit for JSON."""
        return {
            "kind": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "trail": self.trail,
            "exit_code": self.exit_code,
        }


class KernelError(MinirunError):
    """A system call failed: "mount /proc: operation not permitted".

    Arguments: call (str), the call and what it was about, as `strace` would name it; errno (int); hint (str).
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
    """What Docker's daemon would answer with: printed after "Error response from daemon: "."""


class BadParameter(EngineError):
    """A value was refused before anything was made."""


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
    """What Docker's client would refuse by itself, before it asks the daemon."""


class UsageError(ClientError):
    """The words of the command line are off."""


def from_data(data: dict) -> MinirunError:
    """The error that `to_data` turned into data, to be raised on this side of a process border."""
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
    """Any failure as one that can cross a process border; what we did not foresee is a mistake of ours, and says so."""
    if isinstance(error, MinirunError):
        return error
    if isinstance(error, OSError):
        return KernelError(str(error.filename or "system call"), error.errno or 0)
    return MinirunError(f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself")
