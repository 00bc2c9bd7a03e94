"""Device rules: the lines for cgroup v1, and the program for v2, run here by a small machine of our own."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from minirun.kernel.cgroup import devices

DENY_ALL = {"allow": False, "access": "rwm"}
TYPES, ACCESS = {"b": 1, "c": 2}, {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, access: str, major: int, minor: int) -> bool:
    """What the program answers: an interpreter for the eight instructions that it may use (linux/bpf.h)."""
    context = struct.pack("<III", sum(ACCESS[letter] for letter in access) << 16 | TYPES[kind], major, minor)
    registers: dict[int, int] = {}
    instructions = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    at = 0
    while True:
        code, both, offset, value = instructions[at]
        target, source = both & 15, both >> 4
        at += 1
        if code == 0x61:
            assert source == 1
            registers[target] = struct.unpack_from("<I", context, offset)[0]
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code == 0x74:
            registers[target] >>= value
        elif code == 0x54:
            registers[target] &= value
        elif code == 0xB7:
            registers[target] = value
        elif code == 0x55:
            at += offset if registers[target] != value else 0
        elif code == 0x15:
            at += offset if registers[target] == value else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"instruction {code:#x}")


def decide(rules: list[dict], kind: str, access: str, major: int, minor: int) -> bool:
    """The same by the rules themselves: the last one that fits decides; without one the answer is no."""
    for rule in reversed(rules):
        same_kind = rule.get("type") in (None, "a", kind)
        same_numbers = all(rule.get(key) in (None, -1, value) for key, value in (("major", major), ("minor", minor)))
        wanted, named = set(access), set(rule.get("access") or "rwm")
        if same_kind and same_numbers and (wanted <= named if rule["allow"] else bool(wanted & named)):
            return rule["allow"]
    return False


def test_dockers_rules_on_v1():
    lines = devices.v1_lines(
        [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}, *devices.DEFAULT_RULES]
    )
    assert lines[:2] == [("devices.deny", "a"), ("devices.allow", "c 1:5 rwm")]
    assert ("devices.allow", "c *:* m") in lines and ("devices.allow", "c 136:* rwm") in lines


def test_a_disk_can_be_made_and_not_opened():
    program = devices.v2_program([DENY_ALL, *devices.DEFAULT_RULES])
    assert run(program, "b", "m", 8, 0)
    assert not run(program, "b", "r", 8, 0)
    assert not run(program, "b", "rw", 8, 0)
    assert run(program, "c", "rw", 1, 3)
    assert run(program, "c", "rw", 136, 7)
    assert not run(program, "c", "rw", 10, 229)
    assert not run(program, "c", "rw", 1, 1)  # /dev/mem


def test_without_rules_nothing_is_allowed():
    assert not run(devices.v2_program([]), "c", "r", 1, 3)


WAYS = st.sampled_from(("r", "w", "m", "rw", "rwm"))
RULES = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans(), "access": WAYS},
        optional={"type": st.sampled_from(("a", "b", "c")), "major": st.integers(-1, 3), "minor": st.integers(-1, 3)},
    ),
    max_size=6,
)


@given(RULES, st.sampled_from("bc"), WAYS, st.integers(0, 3), st.integers(0, 3))
def test_the_program_decides_as_the_rules_do(rules, kind, access, major, minor):
    assert run(devices.v2_program(rules), kind, access, major, minor) == decide(rules, kind, access, major, minor)
