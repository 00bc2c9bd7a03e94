"""Where the variables of a container come from: env files, -e, the caller, the image."""

import pytest

from minirun.engine.spec import env
from minirun.errors import ClientError, UsageError

CALLER = {"HERE": "caller's", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('# a comment\n\n   # another\nA=1\n  B="q q"\nC= x \n', ["A=1", 'B="q q"', "C= x "]),
        ("HERE\nNOT_HERE\nEMPTY\n", ["HERE=caller's", "EMPTY="]),
        ("A=1\r\nB=a=b\r\n", ["A=1", "B=a=b"]),
        ("E=\nlast=no newline", ["E=", "last=no newline"]),
    ],
)
def test_env_file(text, expected):
    assert env.variables([], [text], CALLER) == expected


def test_dash_e_comes_after_the_files():
    assert env.variables(["HERE", "NOT_HERE", "EMPTY=", "A=2"], ["A=1\n"], CALLER) == [
        "A=1",
        "HERE=caller's",
        "NOT_HERE",
        "EMPTY=",
        "A=2",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A B=1\n", "poorly formatted environment: variable 'A B' contains whitespaces"),
        ("A B\n", "poorly formatted environment: variable 'A B' contains whitespaces"),
        ("A\t=1\n", "poorly formatted environment: variable 'A\t' contains whitespaces"),
        ("=1\n", "poorly formatted environment: no variable name on line '=1'"),
    ],
)
def test_env_files_that_are_refused(text, message):
    with pytest.raises(ClientError) as caught:
        env.variables([], [text], CALLER)
    assert caught.value.message == message


def test_a_variable_without_a_name():
    with pytest.raises(UsageError) as caught:
        env.variables(["=x"], [], CALLER)
    assert caught.value.message == 'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'


def test_reading_the_files(tmp_path):
    good = tmp_path / "good"
    good.write_bytes("\ufeffA=ä\n".encode())
    assert env.read_files([str(good), str(good)]) == ["A=ä\n", "A=ä\n"]
    bad = tmp_path / "bad"
    bad.write_bytes(b"A=1\nB=\xff\n")
    for path, message in (
        (bad, f"env file {bad} contains invalid utf8 bytes at line 2"),
        (tmp_path / "none", f"open {tmp_path}/none: no such file or directory"),
        (tmp_path, f"read {tmp_path}: is a directory"),
    ):
        with pytest.raises(ClientError) as caught:
            env.read_files([str(path)])
        assert caught.value.message == message


def test_labels():
    assert env.labels(["a=b", "c", "f=2"], ["# x\nf=1\ng\n"]) == {"f": "2", "g": "", "a": "b", "c": ""}
