"""Names of containers: which are allowed, how they are made up, who gets one that two want."""

import multiprocessing
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.engine.container import names
from minirun.errors import BadParameter

A, B = "a" * 64, "b" * 64


@pytest.fixture
def data(tmp_path):
    for container_id in (A, B):
        (tmp_path / "containers" / container_id).mkdir(parents=True)
    return str(tmp_path)


@pytest.mark.parametrize("name", ["ab", "w1", "0.x", "A_-", "x" * 300, "9-"])
def test_good_names(name):
    assert names.check(name) == name
    assert names.check(f"/{name}") == name


@pytest.mark.parametrize(
    "name", ["a", "", "/", "/a", "-ab", ".ab", "_ab", "a b", "ab/c", "//ab", "äb", "ab\n", "..", "a²"]
)
def test_bad_names(name):
    with pytest.raises(BadParameter) as caught:
        names.check(name)
    assert caught.value.message == f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"


@given(st.text(alphabet=st.sampled_from(string.printable + "äß١")))
def test_as_dockers_regular_expression_has_it(name):
    import re

    try:
        names.check(name)
        good = True
    except BadParameter:
        good = False
    assert good == bool(re.fullmatch(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", name))


def test_made_up_names():
    moods, people = names._MOODS.split(), names._PEOPLE.split()
    assert len(set(moods)) == len(moods) >= 100
    assert len(set(people)) == len(people) >= 200
    for _ in range(300):
        mood, person = names.generate().split("_")
        assert mood in moods
        assert person in people
    assert {names.generate(1)[-1] for _ in range(300)} == set("0123456789")
    assert len({names.generate() for _ in range(100)}) > 90


def test_steve_wozniak_is_not_boring(monkeypatch):
    moods, people = names._MOODS.split(), names._PEOPLE.split()
    boring = moods.index("boring") + len(moods) * people.index("wozniak")
    numbers = [boring, 0]
    monkeypatch.setattr(names.os, "urandom", lambda size: numbers.pop(0).to_bytes(size, "little"))
    assert names.generate() == f"{moods[0]}_{people[0]}"
    assert numbers == []


def test_a_name_has_one_owner(data):
    assert names.reserve(data, "w1", A) == "w1"
    assert names.owner(data, "w1") == A
    with pytest.raises(BadParameter) as caught:
        names.reserve(data, "w1", B)
    assert caught.value.message == (
        f'Conflict. The container name "/w1" is already in use by container "{A}". You have to remove (or rename) '
        "that container to be able to reuse that name."
    )
    names.release(data, "w1", B)  # not B's: nothing happens
    assert names.owner(data, "w1") == A
    names.release(data, "w1", A)
    names.release(data, "w1", A)
    assert names.owner(data, "w1") == ""
    assert names.reserve(data, "w1", B) == "w1"


def test_names_longer_than_a_file_name(data):
    long, other = "x" * 300, "x" * 301
    names.reserve(data, long, A)
    assert names.owner(data, long) == A
    assert names.owner(data, other) == ""
    with pytest.raises(BadParameter):
        names.reserve(data, long, B)
    names.reserve(data, other, B)
    names.release(data, long, A)
    assert (names.owner(data, long), names.owner(data, other)) == ("", B)


def test_the_name_of_a_dead_creation_is_free_again(data):
    names.reserve(data, "w1", "d" * 64)  # killed before its directory was there, or after it was gone
    assert names.reserve(data, "w1", A) == "w1"
    assert names.owner(data, "w1") == A


def test_a_name_whose_file_is_empty_is_free_again(data):
    names.reserve(data, "w0", A)
    open(f"{data}/names/w1", "w").close()  # killed between open(2) and write(2)
    assert names.reserve(data, "w1", A) == "w1"


def test_a_clash_gets_another_name_with_a_digit(data, monkeypatch):
    asked = []

    def generate(attempt=0):
        asked.append(attempt)
        return f"same_name{attempt or ''}"

    monkeypatch.setattr(names, "generate", generate)
    assert names.reserve(data, "", A) == "same_name"
    assert names.reserve(data, "", B) == "same_name1"
    assert asked == [0, 0, 1]


def test_when_all_made_up_names_are_taken(data, monkeypatch):
    monkeypatch.setattr(names, "generate", lambda attempt=0: "same_name")
    names.reserve(data, "", A)
    assert names.reserve(data, "", B) == B[:12]
    assert names.owner(data, B[:12]) == B


@pytest.mark.parametrize("word", ["nosuch", "../containers", "a/b", "", "x\0y"])
def test_nobody_has_it(data, word):
    assert names.owner(data, word) == ""


def _grab(data, container_id, start, won):
    os.makedirs(f"{data}/containers/{container_id}")
    start.wait()
    try:
        names.reserve(data, "dead", container_id)
        won.put(container_id)
    except BadParameter:
        won.put("")


def test_a_dead_name_goes_to_one_of_many(data):
    """All find the name of a dead creation at once; two who both cleared it would both believe that it is theirs."""
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        names.reserve(data, "dead", "d" * 64)
        start, won = context.Event(), context.SimpleQueue()
        ids = [f"{attempt}{number}".ljust(64, "e") for number in range(6)]
        crowd = [context.Process(target=_grab, args=(data, container_id, start, won)) for container_id in ids]
        for process in crowd:
            process.start()
        start.set()
        winners = [winner for winner in (won.get() for _ in crowd) if winner]
        for process in crowd:
            process.join()
        assert winners == [names.owner(data, "dead")]
        names.release(data, "dead", winners[0])
