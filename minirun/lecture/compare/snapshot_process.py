"""What the kernel says about one process besides its network: namespaces, mounts, rights, limits, three files.

All of it is text in /proc/PID and in the cgroup trees; see proc(5), namespaces(7), capabilities(7), cgroups(7). The
container's own files are reached through /proc/PID/root, and there nothing is trusted: openat2(2) resolves every
symbolic link as if that were the root, and only a plain file is read.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from minirun.errors import KernelError
from minirun.kernel import capabilities, procfs, syscalls
from minirun.kernel.cgroup import cgroup
from minirun.kernel.cgroup.limits import LIMITS
from minirun.kernel.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

if TYPE_CHECKING:
    #: Name of a thing → its properties, its lines in their order, or its members in none.
    Facts = dict[str, dict[str, str] | list[str] | frozenset[str]]

ETC = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
LARGEST = 1 << 20  # bytes of a file: a larger /etc/hosts is an attack on our time
SETS = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}
SECCOMP = {"0": "off", "1": "strict", "2": "filter"}
UNLIMITED_V1 = 1 << 62  # v1 prints the largest number of whole pages


def namespaces(pid: int) -> Facts:
    """Which namespaces it has for itself, and which it shares with the host (that is: with us)."""
    found: Facts = {}
    for name in sorted(os.listdir(f"/proc/{pid}/ns")):
        if not name.endswith("_for_children"):
            theirs, ours = (os.readlink(f"/proc/{who}/ns/{name}") for who in (pid, "self"))
            found[name] = {"whose": "the host's" if theirs == ours else "its own"}
    return found


def files(pid: int) -> Facts:
    """The lines of the three files that an engine writes into every container, and who may change them."""
    found: Facts = {}
    for path in ETC:
        try:
            fd = open_inside(pid, path)
        except KernelError as error:
            found[path] = [f"({os.strerror(error.errno).lower()})"]
            continue
        try:
            facts = os.fstat(fd)
            found[f"{path} itself"] = {
                "mode": f"{stat.filemode(facts.st_mode)}",
                "owner": f"{facts.st_uid}",
                "group": f"{facts.st_gid}",
            }
            text = contents(fd) if stat.S_ISREG(facts.st_mode) else b"(no file)"
        finally:
            os.close(fd)
        found[path] = text.decode("utf-8", "backslashreplace").splitlines()
    return found


def open_inside(pid: int, path: str) -> int:
    """Find a file as the process itself would, in its root. Returns: a descriptor that can be looked at, not read: to
    open a device or a pipe for reading is a deed, and a container may have put one there. Errors: KernelError."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.openat2(root, path, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(root)


def contents(fd: int) -> bytes:
    """The text behind such a descriptor, at most 1 MiB of it."""
    readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(readable, LARGEST)
    finally:
        os.close(readable)


def mounts(pid: int) -> Facts:
    """/proc/PID/mountinfo by mount point; a second mount on the same point is "#2"."""
    found: Facts = {}
    for line in procfs.read(f"/proc/{pid}/mountinfo").splitlines():
        left, right = line.split(" - ", 1)
        _, _, _, root, point, options, *propagation = left.split()
        kind, source, super_options = right.split(" ", 2)
        name, number = point, 1
        while name in found:
            number += 1
            name = f"{point} #{number}"
        found[name] = {"type": kind, "source": source, "root": root, "propagation": " ".join(propagation) or "private"}
        found[f"{name} options"] = frozenset(options.split(","))
        found[f"{name} super"] = frozenset(super_options.strip().split(","))
    return found


def rights(pid: int) -> Facts:
    """Who the process is, and what it may do: ids, the five capability sets, no_new_privs, seccomp."""
    status = dict(line.split(":", 1) for line in procfs.read(f"/proc/{pid}/status").splitlines())
    words = {name: text.split() for name, text in status.items()}
    found: Facts = {SETS[name]: _capability_names(int(status[name], 16)) for name in SETS}
    found["user"] = {
        "uid": " ".join(words["Uid"]),
        "gid": " ".join(words["Gid"]),
        "groups": " ".join(sorted(words["Groups"], key=int)),
    }
    found["no_new_privs"] = {"is": "on" if words["NoNewPrivs"] == ["1"] else "off"}
    mode = (words.get("Seccomp") or ["0"])[0]
    found["seccomp"] = {"is": SECCOMP.get(mode, mode), "filters": (words.get("Seccomp_filters") or ["0"])[0]}
    return found


def _capability_names(bits: int) -> frozenset[str]:
    return frozenset(name for number, name in enumerate(capabilities.NAMES) if bits >> number & 1)


def limits(pid: int) -> Facts:
    """The limits of its cgroup, in one vocabulary for both versions, and the place of the cgroup."""
    places = _cgroup_places(pid)
    found: Facts = {}
    for name, controller, v1_file, v2_file in LIMITS:
        version, directory = places.get(controller) or places.get("") or (0, "")
        text = _read(f"{directory}/{v1_file if version == 1 else v2_file}") if version else ""
        if text:
            found[name] = {"is": one_vocabulary(name, version, text, directory)}
    for controller in ("memory", ""):
        if controller in places:
            version, directory = places[controller]
            tree = next(tree.mountpoint for tree in cgroup.hierarchies() if directory.startswith(tree.mountpoint))
            found["cgroup"] = {"path": directory.removeprefix(tree) or "/"}
            break
    if "devices" in places:
        found["devices"] = frozenset(_read(f"{places['devices'][1]}/devices.list").splitlines())
    return found


def _cgroup_places(pid: int) -> dict[str, tuple[int, str]]:
    """Controller ("" for the tree of v2) → version and directory of the process's cgroup."""
    found = {}
    for line in procfs.read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for tree in cgroup.hierarchies():
            of_tree = set(tree.controllers)
            if tree.version == 2 and not controllers or controllers and of_tree & set(controllers.split(",")):
                directory = tree.mountpoint + (path if path != "/" else "")
                found.update(dict.fromkeys(of_tree or ("",), (tree.version, directory)))
    return found


def one_vocabulary(name: str, version: int, text: str, directory: str = "") -> str:
    """A limit in config.json's meaning: v1's numbers, "none" where there is no limit.

    v2 counts swap alone (config.json: memory and swap), weighs processors from 1 to 10000 (shares: 2 to 262144), and
    has quota and period in one line; see `kernel.limits.v2_value`, of which this is the way back.
    """
    if version == 2:
        if name in ("cpu.quota", "cpu.period"):
            text = text.split()[name == "cpu.period"]
        elif name == "cpu.shares":
            text = str(2 + -(-(int(text) - 1) * 262142 // 9999))
        elif name == "memory.swap" and text != "max":
            memory = _read(f"{directory}/memory.max")
            text = str(int(text) + int(memory)) if memory.isdigit() else "max"
    if text in ("max", "-1") or name.startswith("memory.") and text.isdigit() and int(text) > UNLIMITED_V1:
        return "none"
    return text


def _read(path: str) -> str:
    try:
        return procfs.read(path).strip()
    except KernelError:  # a controller or a file that this machine has not
        return ""
