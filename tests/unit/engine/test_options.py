"""The typed options that the command line hands to the engine."""

import typing
from collections.abc import Mapping, Sequence

import pytest

from minirun.cli import commands
from minirun.engine import options
from minirun.engine.options import CommitOptions, CreateOptions, ExecOptions
from minirun.image.reference import Reference

#: A word for each flag that does not take just any.
WORDS = {
    "add_host": "db:10.0.0.1",
    "attach": "stdin",
    "cpus": "1.5",
    "dns": "10.0.0.1",
    "dns_search": "example.org",
    "label": "a=b",
    "link": "db:db",
    "memory": "64m",
    "memory_reservation": "64m",
    "memory_swap": "-1",
    "mount": "type=bind,src=/a,dst=/b",
    "shm_size": "64m",
    "sysctl": "net.ipv4.ip_forward=1",
    "ulimit": "nofile=100:200",
}
#: Made by the CLI of several flags.
MADE = {"network", "label", "env", "image", "command"}


def typed_fields():
    names = {"Mapping": Mapping, "Sequence": Sequence, "Reference": Reference}
    for cls, verb in (
        (CreateOptions, "run"),
        (CreateOptions, "create"),
        (ExecOptions, "exec"),
        (CommitOptions, "commit"),
    ):
        flags = {option.name: option for option in commands.load(verb).options}
        for name, kind in typing.get_type_hints(cls, vars(options), names).items():
            if name in flags and name not in MADE:
                yield pytest.param(flags[name], kind, id=f"{verb} {name}")


def fits(value, kind) -> bool:
    """Whether a value is of an annotation's type, with what it contains."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(fits(item, parts[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(key, parts[0]) and fits(value[key], parts[1]) for key in value)
    if parts:
        return any(fits(value, part) for part in parts)
    return type(value) is kind


@pytest.mark.parametrize(("option", "kind"), list(typed_fields()))
def test_a_flag_gives_what_its_field_is_declared_as(option, kind):
    """`FrozenOptions.of` takes values by name, where mypy does not see their types."""
    values = {option.name: option.initial()}
    assert fits(values[option.name], kind)
    if option.kind.metavar:
        option.take(values, WORDS.get(option.name, "7"))
        assert values[option.name] != option.initial()
    else:
        option.take(values, "true")
    assert fits(values[option.name], kind)


def test_a_wrong_type_would_be_found():
    assert fits(["a"], Sequence[str]) and fits(None, str | None) and fits({"a": "b"}, Mapping[str, str])
    assert not fits([1], Sequence[str]) and not fits("ab", Sequence[str]) and not fits(True, int)
    assert not fits(None, str) and not fits({"a": 1}, Mapping[str, str])


def test_options_are_frozen_and_complete():
    made = CreateOptions(image="alpine", memory=64)
    with pytest.raises(AttributeError):
        made.memory = 65
    assert made.replace(memory=65) == CreateOptions(image="alpine", memory=65) and made.memory == 64
    with pytest.raises(TypeError, match="image"):
        CreateOptions(memory=64)
    with pytest.raises(TypeError, match="memroy"):
        CreateOptions(image="alpine", memroy=64)
