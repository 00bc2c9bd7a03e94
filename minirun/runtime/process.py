"""From a process object to the moment before execve: limits, rights, place, and which file it will be (config.md,
"Process"). The same for a container's first process and for those that `exec` adds; both are inside the container.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError, ProgramError
from minirun.kernel import capabilities, syscalls
from minirun.trace import step


def settle(wanted: dict) -> tuple[str, dict[str, str]]:
    """The last steps of a process: limits, rights, place, and the program's path (config.md, "Process").

    Returns: the program's path and the environment. The order matters. Limits while there is the right to raise them;
    the bounding set while there is CAP_SETPCAP; groups before the user, who may not change them; capabilities after
    the user, since setresuid(2) away from 0 clears them.
    """
    set_limits(wanted)
    user = wanted["user"]
    with step("give up privileges"):
        sets = wanted.get("capabilities") or {}
        capabilities.limit_bounding(capabilities.mask(sets.get("bounding") or []))
        if user.get("uid", 0) != 0:
            syscalls.prctl("SET_KEEPCAPS", 1)
        syscalls.setgroups(list(dict.fromkeys(user.get("additionalGids") or ())))  # each once, as runc
        syscalls.setresgid(user.get("gid", 0))
        syscalls.umask(user.get("umask", 0o022))
        go_to(wanted["cwd"])
        syscalls.setresuid(user.get("uid", 0))
        capabilities.limit(sets)
        if wanted.get("noNewPrivileges"):
            syscalls.prctl("SET_NO_NEW_PRIVS", 1)
        # A seccomp filter (linux.seccomp) has its place here: last, so that what is above needs no permission from it.
    environment = environment_of(wanted)
    return find_program(wanted["args"][0], environment.get("PATH", "")), environment


def set_limits(wanted: dict) -> None:
    """The resource limits; one that cannot be raised is a warning (prlimit(2) needs CAP_SYS_RESOURCE for that)."""
    for entry in wanted.get("rlimits") or []:
        kind = entry["type"].removeprefix("RLIMIT_").lower()
        try:
            syscalls.prlimit(kind, entry["soft"], entry["hard"])
        except KernelError as error:
            if error.errno != errno.EPERM:
                raise
            os.write(2, f"WARNING: {error.message}\n".encode())


def go_to(cwd: str) -> None:
    """chdir(2) to the working directory; before the user is changed, who might not be allowed to enter it."""
    try:
        syscalls.chdir(cwd)
    except KernelError as error:
        text = os.strerror(error.errno).lower()
        raise ProgramError(f'chdir to cwd ("{cwd}") set in config.json failed: {text}', exit_code=126) from None


def environment_of(wanted: dict) -> dict[str, str]:
    """The environment; HOME is added from the container's own /etc/passwd where it is not given, as runc does."""
    environment = {}
    for entry in wanted.get("env") or []:
        name, _, value = entry.partition("=")
        environment[name] = value
    if not environment.get("HOME"):
        environment.pop("HOME", None)
        environment["HOME"] = home_of(wanted["user"].get("uid", 0))
    return environment


def home_of(uid: int) -> str:
    """The home directory of a user in /etc/passwd, passwd(5); "/" for one who is not there."""
    try:
        with open("/etc/passwd", "rb") as file:
            for line in file:
                fields = line.decode("utf-8", "surrogateescape").rstrip("\n").split(":")
                if len(fields) > 5 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        return "/"  # an image without users
    return "/"


def find_program(name: str, path: str) -> str:
    """The path of the program, looked for as execvp(3) would. Errors: ProgramError, Docker's words, 126 or 127."""
    if "/" in name:
        return _executable(name, name)
    found = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                return candidate
            found = candidate
    if found:
        raise ProgramError(f'exec: "{name}": permission denied', exit_code=126)
    raise ProgramError(f'exec: "{name}": executable file not found in $PATH', exit_code=127)


def _executable(name: str, path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as reason:
        text = os.strerror(reason.errno or 0).lower()
        code = 126 if reason.errno == errno.EACCES else 127
        raise ProgramError(f'exec: "{name}": stat {path}: {text}', exit_code=code) from None
    if stat.S_ISDIR(mode):
        raise ProgramError(f'exec: "{name}": is a directory', exit_code=126)
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ProgramError(f'exec: "{name}": permission denied', exit_code=126)
    return path
