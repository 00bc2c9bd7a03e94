"""Error messages and exit codes as Docker 20.10's client has them.

Docker's client words one and the same refusal in different ways, and scripts look for these words:

    run, create   what the client refuses:    "minirun: TEXT." and "See 'minirun run --help'."          [125]
    run           what the daemon refuses:    "minirun: Error response from daemon: TEXT."              [125]
                  the same before the start:  ... and "See 'minirun run --help'."
    logs, exec …  no such container:          "Error: No such container: NAME"                          [1]
    all others    what the daemon refuses:    "Error response from daemon: TEXT"                        [1]
    compare       could not look:             "minirun: TEXT"  (1 means that there are differences)        [125]
    any           a flag is wrong:            TEXT and "See 'minirun VERB --help'."                     [125]
"""

from __future__ import annotations

from minirun.errors import (
    EXEC_FAILED,
    RUN_FAILED,
    BadParameter,
    ClientError,
    EngineError,
    MinirunError,
    NoSuchContainer,
    NoSuchImage,
    ProgramError,
    UsageError,
)

#: The verbs whose client looks the container up by itself first, and says so in its own words.
LOOKS_UP_FIRST = frozenset(("logs", "rm", "exec", "attach", "port"))


def complaint(error: MinirunError, verb: str) -> str:
    """The message for standard error, without a newline at the end.

    Arguments: verb (str), "run", "container rm", or "" when no verb had been read yet.
    """
    text = _text(error, verb, verb.rpartition(" ")[2])
    return f"{text}\nhint: {error.hint}" if error.hint else text


def exit_code(error: MinirunError, verb: str) -> int:
    """The exit code that Docker's client ends with."""
    name = verb.rpartition(" ")[2]
    if name == "exec" and isinstance(error, ProgramError):
        return 126  # Docker's `exec` does not tell "not found" (127) from "not executable"
    if error.exit_code != MinirunError.exit_code:  # it was raised with an exit code of its own
        return error.exit_code
    if name in ("run", "compare") or isinstance(error, UsageError):
        return 125
    if name == "create" and isinstance(error, ClientError):
        return 125
    return 1 if verb else 125


def _text(error: MinirunError, verb: str, name: str) -> str:
    message = error.message
    if isinstance(error, UsageError):
        if error.exit_code != MinirunError.exit_code:
            return message
        return f"{message}\nSee 'minirun {verb} --help'." if verb else f"{message}\nSee 'minirun --help'."
    if isinstance(error, ClientError):
        asked_first = name in ("run", "create") and error.exit_code == MinirunError.exit_code
        # "run" and "create" end each sentence with a full stop, and none with two
        return f"minirun: {message.removesuffix('.')}.\nSee 'minirun {name} --help'." if asked_first else message
    if isinstance(error, ProgramError):
        return _program(message, name)
    if isinstance(error, EngineError):
        return _engine(error, name)
    if error.trail:
        message = ": ".join((*error.trail, message))
    return f"minirun: {message}"


def _program(message: str, name: str) -> str:
    whole = message.startswith(("unable to find", "failed to create", "OCI runtime"))
    if name == "exec":
        return message if whole else EXEC_FAILED.format(message)
    wrapped = message if whole else RUN_FAILED.format(message)
    daemon = f"Error response from daemon: {wrapped}"
    return f"minirun: {daemon}." if name == "run" else daemon


def _engine(error: EngineError, name: str) -> str:
    if isinstance(error, NoSuchContainer) and name in LOOKS_UP_FIRST:
        return f"Error: {error.message}"
    if isinstance(error, NoSuchImage) and name == "rmi":
        return f"Error: {error.message}"
    if name != "run":
        return f"Error response from daemon: {error.message}"
    see = "\nSee 'minirun run --help'." if isinstance(error, (BadParameter, NoSuchImage)) else ""
    return f"minirun: Error response from daemon: {error.message.removesuffix('.')}.{see}"
