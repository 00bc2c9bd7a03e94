"""The OCI process object: resource limits, user, capabilities, working directory and program (config.md, "Process").

The same for a container's first process and for those that `exec` adds; both run this inside the container.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError, ProgramError
from minirun.kernel import capabilities, syscalls
from minirun.trace import step


def prepare_exec(process_spec: dict) -> tuple[str, dict[str, str]]:
    """The last steps before execve: limits, user, capabilities, working directory (runc's finalizeNamespace).

    Returns: the program's path and the environment. Errors: ProgramError for a program that cannot be executed.
    """
    # Limits while there is CAP_SYS_RESOURCE, which raising a hard limit needs.
    set_limits(process_spec)
    user = process_spec["user"]
    with step("give up privileges"):
        sets = process_spec.get("capabilities") or {}
        # The bounding set while there is CAP_SETPCAP; the other four after the user, see below.
        capabilities.limit_bounding(capabilities.mask(sets.get("bounding") or []))
        if user.get("uid", 0) != 0:
            # Or setresuid(2) away from 0 would clear the permitted set, from which capset(2) below takes what it sets.
            syscalls.prctl("SET_KEEPCAPS", 1)
        # Groups before the user, who has no CAP_SETGID; the supplementary ones too, or root's own would be left.
        syscalls.setgroups(list(dict.fromkeys(user.get("additionalGids") or ())))  # each once, as runc does
        syscalls.setresgid(user.get("gid", 0))
        syscalls.umask(user.get("umask", 0o022))
        # As root: the user may not be allowed to enter the directory, and Docker starts the program all the same.
        change_directory(process_spec["cwd"])
        syscalls.setresuid(user.get("uid", 0))
        capabilities.limit(sets)
        # No gain of privileges by set-user-ID programs or file capabilities from here on, for children too.
        if process_spec.get("noNewPrivileges"):
            syscalls.prctl("SET_NO_NEW_PRIVS", 1)
        # A seccomp filter (linux.seccomp) belongs here: last, so that it need not allow the calls above.
    variables = environment(process_spec)
    # Looked up last: with the user's own rights, and after chdir, since PATH and the name may be relative.
    return find_program(process_spec["args"][0], variables.get("PATH", "")), variables


def set_limits(process_spec: dict) -> None:
    """Set the resource limits (getrlimit(2)); one that may not be raised is a warning, not an error."""
    for entry in process_spec.get("rlimits") or []:
        kind = entry["type"].removeprefix("RLIMIT_").lower()
        try:
            syscalls.prlimit(kind, entry["soft"], entry["hard"])
        except KernelError as error:
            if error.errno != errno.EPERM:
                raise
            os.write(2, f"WARNING: {error.message}\n".encode())


def change_directory(cwd: str) -> None:
    """chdir(2) to the working directory. Errors: ProgramError with runc's message, exit code 126."""
    try:
        syscalls.chdir(cwd)
    except KernelError as error:
        text = os.strerror(error.errno).lower()
        raise ProgramError(f'chdir to cwd ("{cwd}") set in config.json failed: {text}', exit_code=126) from None


def environment(process_spec: dict) -> dict[str, str]:
    """The environment, name to value, with HOME from the container's /etc/passwd where it is missing, as in runc."""
    variables = {}
    for entry in process_spec.get("env") or []:
        name, _, value = entry.partition("=")
        variables[name] = value  # of several the last one counts, as in runc
    if not variables.get("HOME"):
        variables.pop("HOME", None)  # also an empty one; removed first, so that it stands last
        variables["HOME"] = home_directory(process_spec["user"].get("uid", 0))
    return variables


def home_directory(uid: int) -> str:
    """The home directory of a user ID in the container's /etc/passwd (passwd(5)); "/" when it is not listed."""
    # Not pwd.getpwuid: that asks NSS, which would load libraries of the image into this process (as in CVE-2019-14271).
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
    """The path of a program, searched for along `path` (PATH) as execvp(3) does.

    Errors: ProgramError with Docker's message: 127 when it is not found, 126 when it cannot be executed.
    """
    if "/" in name:
        return _executable(name, name)
    found = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                return candidate
            found = candidate  # a later directory may have one that is executable
    if found:
        raise ProgramError(f'exec: "{name}": permission denied', exit_code=126)
    raise ProgramError(f'exec: "{name}": executable file not found in $PATH', exit_code=127)


def _executable(name: str, path: str) -> str:
    """Check a program that is given by its path. Returns: the path. Errors: ProgramError."""
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
