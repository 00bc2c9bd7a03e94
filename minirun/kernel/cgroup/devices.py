"""Which device nodes the processes of a cgroup may open (cgroups(7), bpf(2)).

A device node is only a pair of numbers; a process with CAP_MKNOD can make that of the host's disk. What keeps it from
reading the disk is not the file system but the cgroup: the `devices` controller in v1, an eBPF program in v2.
"""

from __future__ import annotations

from minirun.light import struct

#: The rules that runc adds to every spec: make any node (without being able to open it), and use the default nodes, the
#: container's terminals (136:*), /dev/ptmx (5:2) and /dev/net/tun (10:200).
DEFAULT_RULES: tuple[dict, ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200), (136, None))
    ),
)


def v1_lines(rules: list[dict]) -> list[tuple[str, str]]:
    """Device rules for the v1 controller, as (file, line): ("devices.deny", "a"), ("devices.allow", "c 1:3 rwm")."""
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
    """Device rules as an eBPF program (bytes), which the kernel runs in v2: it returns 1 to allow, 0 to refuse."""
    # The context has three 32-bit words: type and access, major, minor (linux/bpf.h, struct bpf_cgroup_dev_ctx).
    program = [
        _instruction(0x61, 2, 1, 0, 0),  # r2 = type and access
        _instruction(0xBC, 3, 2, 0, 0),  # r3 = r2
        _instruction(0x74, 3, 0, 0, 16),  # r3 >>= 16: access
        _instruction(0x54, 2, 0, 0, 0xFFFF),  # r2 &= 0xffff: type
        _instruction(0x61, 4, 1, 4, 0),  # r4 = major
        _instruction(0x61, 5, 1, 8, 0),  # r5 = minor
    ]
    # As in v1 the last rule that matches decides, so the program tests them from the last to the first.
    for rule in reversed(rules):
        tests = _tests(rule)
        program += tests or _answer(allow=rule["allow"])
        if not tests:
            break  # it matches everything: the rules before it can never be reached (the verifier rejects such code)
    else:
        program += _answer(allow=False)
    return b"".join(program)


def _tests(rule: dict) -> list[bytes]:
    """The instructions of one rule: a test that fails jumps over the rest. Empty if it matches everything."""
    tests: list[tuple[list[bytes], int, int, int]] = []  # (instructions before the jump, opcode, register, value)
    if rule.get("type") in _TYPES:
        tests.append(([], 0x55, 2, _TYPES[rule["type"]]))
    access = sum(_ACCESS[letter] for letter in rule.get("access") or "rwm")
    if access != _ALL:
        # A rule that allows matches when nothing beyond it is requested; one that denies when any of it is.
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
    """r0 = 0 or 1; exit."""
    return [_instruction(0xB7, 0, 0, 0, int(allow)), _instruction(0x95, 0, 0, 0, 0)]


def _instruction(opcode: int, target: int, source: int, offset: int, value: int) -> bytes:
    """One instruction of eight bytes (linux/bpf.h, struct bpf_insn)."""
    return struct.pack("<BBhi", opcode, source << 4 | target, offset, value)
