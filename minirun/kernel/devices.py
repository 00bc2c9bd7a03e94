"""Device nodes: the doors of /dev (null(4), random(4), tty(4)), and which of them a cgroup lets a container open.

A device node is only a pair of numbers; who may make one (CAP_MKNOD) can make the host's disk. What keeps a container
from reading it is not the file system but the cgroup: the `devices` controller in cgroup v1, a small BPF program in v2.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.light import struct

#: What every container finds in /dev (OCI runtime-spec, "Default Devices"): name → numbers.
DEFAULT_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
DEFAULT_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

#: What every container may do besides what its spec says, as in runc: make any node (it cannot open it), and use the
#: default nodes, its terminals (136:*), /dev/ptmx (5:2) and /dev/net/tun (10:200).
DEFAULT_RULES: tuple[dict, ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200), (136, None))
    ),
)

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make_node(directory: int, name: str, kind: str, numbers: tuple[int, int], mode: int = 0o666) -> None:
    """Make a device node in an open directory.

    Arguments: kind (str), "c", "b" or "p"; numbers, major and minor; mode (int), permission bits, whatever the umask.
    """
    syscalls.mknodat(directory, name, _KINDS[kind] | mode, os.makedev(*numbers))
    os.chmod(name, mode, dir_fd=directory)


def make_defaults(directory: int) -> None:
    """Make the default nodes and links in the open directory that will be the container's /dev."""
    mask = os.umask(0)  # so that mknod's mode is the mode, without a chmod for each node
    try:
        for name, numbers in DEFAULT_NODES.items():
            syscalls.mknodat(directory, name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
    finally:
        os.umask(mask)
    for name, target in DEFAULT_LINKS.items():
        try:
            syscalls.symlinkat(target, directory, name)
        except KernelError as error:
            if error.errno != errno.EEXIST:  # a mount of the spec has made it
                raise


# ---- who may open them -----------------------------------------------------------------------------------------


def v1_lines(rules: list[dict]) -> list[tuple[str, str]]:
    """Device rules as the v1 controller takes them: ("devices.deny", "a"), ("devices.allow", "c 1:3 rwm") and so on."""
    lines = []
    for rule in rules:
        kind = rule.get("type") or "a"
        numbers = ":".join("*" if rule.get(key) in (None, -1) else str(rule[key]) for key in ("major", "minor"))
        file = "devices.allow" if rule["allow"] else "devices.deny"
        lines.append((file, "a" if kind == "a" else f"{kind} {numbers} {rule.get('access') or 'rwm'}"))
    return lines


_TYPES = {"b": 1, "c": 2}  # linux/bpf.h, BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = 7


def v2_program(rules: list[dict]) -> bytes:
    """Device rules as the program that the kernel asks in v2: it answers 1 to allow, 0 to refuse.

    The last rule that fits decides, so the program tries them from the last to the first. The kernel hands over three
    words: type and access, major, minor (struct bpf_cgroup_dev_ctx).
    """
    program = [
        _instruction(0x61, 2, 1, 0, 0),  # r2 = type and access
        _instruction(0xBC, 3, 2, 0, 0),  # r3 = r2
        _instruction(0x74, 3, 0, 0, 16),  # r3 >>= 16: access
        _instruction(0x54, 2, 0, 0, 0xFFFF),  # r2 &= 0xffff: type
        _instruction(0x61, 4, 1, 4, 0),  # r4 = major
        _instruction(0x61, 5, 1, 8, 0),  # r5 = minor
    ]
    for rule in reversed(rules):
        tests = _tests(rule)
        program += tests or _answer(allow=rule["allow"])
        if not tests:
            break  # it fits everything: what comes before it can never be asked
    else:
        program += _answer(allow=False)
    return b"".join(program)


def _tests(rule: dict) -> list[bytes]:
    """The instructions of one rule: each test that fails jumps over the rest. None for a rule that fits everything."""
    tests: list[tuple[list[bytes], int, int, int]] = []  # (instructions before the jump, opcode, register, value)
    if rule.get("type") in _TYPES:
        tests.append(([], 0x55, 2, _TYPES[rule["type"]]))
    access = sum(_ACCESS[letter] for letter in rule.get("access") or "rwm")
    if access != _ALL:
        # Allowed is who wants nothing beyond the rule; refused is who wants any of it.
        wanted = _ALL & ~access if rule["allow"] else access
        copy = [_instruction(0xBC, 1, 3, 0, 0), _instruction(0x54, 1, 0, 0, wanted)]
        tests.append((copy, 0x55 if rule["allow"] else 0x15, 1, 0))
    tests += [
        ([], 0x55, register, rule[key])
        for key, register in (("major", 4), ("minor", 5))
        if rule.get(key) not in (None, -1)
    ]
    answer = _answer(allow=rule["allow"])
    length = sum(len(before) + 1 for before, *_ in tests) + len(answer)
    program: list[bytes] = []
    for before, opcode, register, value in tests:
        program += before
        program.append(_instruction(opcode, register, 0, length - len(program) - 1, value))
    return program + answer if tests else []


def _answer(*, allow: bool) -> list[bytes]:
    return [_instruction(0xB7, 0, 0, 0, int(allow)), _instruction(0x95, 0, 0, 0, 0)]


def _instruction(opcode: int, target: int, source: int, offset: int, value: int) -> bytes:
    """One instruction of eight bytes (linux/bpf.h, struct bpf_insn)."""
    return struct.pack("<BBhi", opcode, source << 4 | target, offset, value)
