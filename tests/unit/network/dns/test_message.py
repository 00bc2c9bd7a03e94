"""DNS messages, byte by byte: what Docker's embedded server says to odd ones was asked of Docker 20.10.24."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minirun.network.dns import message as dns_message
from minirun.network.dns.message import A

U2 = b"\x02u2\0"
QUESTION = U2 + b"\0\x01\0\x01"
RECORD = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x01\x02\x03\x04"
ADDRESS = b"\xac\x12\0\x03"
ANSWER = QUESTION + U2 + b"\0\x01\0\x01\0\0\x02\x58\0\x04" + ADDRESS
LABEL = b"\x3f" + 63 * b"a"


def head(flags=0x0100, questions=1, answers=0, authorities=0, additional=0, number=0xABCD):
    return struct.pack(">6H", number, flags, questions, answers, authorities, additional)


def opt(size, data=b""):
    return b"\0" + struct.pack(">HHIH", 41, size, 0, len(data)) + data


def said(message):
    """What is answered by somebody who knows u2 alone: None, or the answer without its id."""
    query = dns_message.read(message)
    if query is None:
        return None
    if query.error:
        return dns_message.error_response(query)[2:]
    return dns_message.response(query, [ADDRESS] if (query.text, query.type) == ("u2", A) else [], 600, query.size)[2:]


def complaint(flags, question=b""):
    return struct.pack(">5H", flags, 1 if question else 0, 0, 0, 0) + question


def answered(flags=0x8180, answer=ANSWER, count=1):
    return struct.pack(">5H", flags, 1, count, 0, 0) + answer


@pytest.mark.parametrize(
    "message",
    [
        b"",
        head()[:11],
        head(),
        head(0x8100) + QUESTION,
        head(0x8180, answers=1) + ANSWER,
    ],
    ids=["empty", "11 bytes", "a header alone", "an answer", "an answer with a record"],
)
def test_what_gets_no_answer(message):
    assert said(message) is None


@pytest.mark.parametrize(
    ("message", "complains"),
    [
        (head(questions=0), complaint(0x8101)),
        (head(questions=2) + QUESTION + QUESTION, complaint(0x8101)),
        (head(0x0900) + QUESTION, complaint(0x8904)),  # IQUERY
        (head(0x1100) + QUESTION, complaint(0x9104)),  # STATUS
        (head(0x2900) + QUESTION, complaint(0xA904)),  # UPDATE
        (head(answers=2) + QUESTION + RECORD * 2, complaint(0x8101)),
        (head(authorities=2) + QUESTION + RECORD * 2, complaint(0x8101)),
        (head(additional=3) + QUESTION + RECORD * 3, complaint(0x8101)),
        (head(additional=1) + QUESTION + RECORD[:-2], complaint(0x8101, QUESTION)),
        (head() + b"\xc0\x0c\0\x01\0\x01", complaint(0x8101)),  # a name that is a pointer to itself
        (head() + b"\x01a\xc0\x0c\0\x01\0\x01", complaint(0x8101)),
        (head() + b"\xc0\0\0\x01\0\x01", complaint(0x8101)),
        (head() + b"\x40" + 64 * b"a" + b"\0\0\x01\0\x01", complaint(0x8101)),
        (head() + b"\x80" + 64 * b"a" + b"\0\0\x01\0\x01", complaint(0x8101)),
        (head() + LABEL * 3 + b"\x3e" + 62 * b"b" + b"\0\0\x01\0\x01", complaint(0x8101)),  # 256 bytes
        (head() + LABEL * 6 + b"\0\0\x01\0\x01", complaint(0x8101)),
        (head() + b"\x05u2", complaint(0x8101)),
        (head() + b"\x02u2", complaint(0x8101)),
    ],
)
def test_complaints(message, complains):
    assert said(message) == complains


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (head() + QUESTION, answered()),
        (head() + QUESTION + b"xyz", answered()),
        (head(0x2100) + QUESTION, answered(0xA080)),  # NOTIFY
        (head(answers=1) + QUESTION + RECORD, answered()),
        (head(additional=2) + QUESTION + RECORD * 2, answered()),
        (head(answers=1) + QUESTION, answered()),  # fewer records than were counted
        (head() + QUESTION[:-1], answered(answer=U2 + b"\0\x01\0\0" + ANSWER[8:])),  # no class, or half of it
        (head() + QUESTION[:-2], answered(answer=U2 + b"\0\x01\0\0" + ANSWER[8:])),
        (head() + U2, answered(answer=U2 + bytes(4), count=0)),
        (head() + U2 + b"\0\x01\0\x03", answered(answer=U2 + b"\0\x01\0\x03" + ANSWER[8:])),  # class CH
        (head(0x0000) + QUESTION, answered(0x8080)),
        (head(0x0130) + QUESTION, answered(0x8190)),  # AD, CD
        (head(0x07C5) + QUESTION, answered(0x8180)),  # AA, TC, RA, Z, a code
        (head(additional=1) + QUESTION + opt(4096), answered()),
        (head() + b"\x02U2\0\0\x01\0\x01", answered(answer=b"\x02U2\0\0\x01\0\x01", count=0)),
        (head() + b"\x05u2.oo\0\0\x01\0\x01", answered(answer=b"\x05u2.oo\0\0\x01\0\x01", count=0)),  # a dot in a label
        (head() + b"\x03u\x002\0\0\x01\0\x01", answered(answer=b"\x03u\x002\0\0\x01\0\x01", count=0)),
        (
            head() + LABEL * 3 + b"\x3d" + 61 * b"b" + b"\0\0\x01\0\x01",
            answered(answer=LABEL * 3 + b"\x3d" + 61 * b"b" + b"\0\0\x01\0\x01", count=0),
        ),  # 255 bytes
    ],
)
def test_answers(message, answer):
    assert said(message) == answer


def test_the_text_of_a_name():
    def text(name):
        query = dns_message.read(head() + name + b"\0\x01\0\x01")
        return query.text, query.is_single()

    assert text(b"\x02u2\x03foo\0") == ("u2.foo", False)
    assert text(b"\x05My_-1\0") == ("My_-1", True)
    assert text(b"\0") == ("", True)
    assert text(b"\x06u2.foo\0") == ("", True)
    assert text(b"\x03u 2\0") == text(b"\x02\xc3\xbc\0") == text(b"\x02u\\\0") == ("", True)


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [((), 512), ((0,), 512), ((511,), 512), ((1232,), 1232), ((65535,), 65507), ((1232, 4096), 4096)],
)
def test_what_does_not_fit_is_left_out_and_said(sizes, limit):
    query = dns_message.read(head(additional=len(sizes)) + QUESTION + b"".join(map(opt, sizes)))
    assert query.size == limit
    addresses = [struct.pack(">I", number) for number in range(5000)]
    cut = dns_message.response(query, addresses, 600, query.size)
    fit = (limit - 20) // 18
    assert len(cut) == 20 + 18 * fit <= limit
    assert struct.unpack_from(">4H", cut) == (0xABCD, 0x8380, 1, fit)
    whole = dns_message.response(query, addresses[:fit], 600, query.size)
    assert struct.unpack_from(">4H", whole) == (0xABCD, 0x8180, 1, fit)


def test_over_tcp_nothing_says_that_something_was_left_out():
    query = dns_message.read(head() + QUESTION)
    answer = dns_message.response(query, [ADDRESS] * 5000, 600, 65534)
    assert len(answer) <= 65534
    assert struct.unpack_from(">2H", answer, 2) == (0x8180, 1)


def test_a_query_that_is_sent_on():
    query = dns_message.read(head(additional=2) + QUESTION + opt(1232, b"\0\x0a\0\x08abcdefgh") + b"")
    assert query.message(7) == head(additional=1, number=7) + QUESTION + opt(1232, b"\0\x0a\0\x08abcdefgh")
    assert dns_message.read(head() + QUESTION + b"more").message(8) == head(number=8) + QUESTION


def test_what_is_an_answer_to_a_query():
    query = dns_message.read(head() + QUESTION)
    good = head(0x8180, number=7) + QUESTION
    assert dns_message.is_response(good, query, 7)
    assert dns_message.is_response(good.replace(b"u2", b"U2"), query, 7)
    assert dns_message.is_response(head(0x8181, questions=0, number=7), query, 7)  # a complaint without the question
    for bad in (
        b"",
        good[:11],
        b"junk",
        head(0x0180, number=7) + QUESTION,
        head(0x8180, number=8) + QUESTION,
        good.replace(b"u2", b"u3"),
        good[:-1] + b"\x03",
        head(0x8180, questions=0, number=7),
    ):
        assert not dns_message.is_response(bad, query, 7)


def test_an_answer_that_is_too_long():
    query = dns_message.read(head() + QUESTION)
    answer = head(0x8180, answers=60) + QUESTION + RECORD * 60
    assert dns_message.truncate(answer, query, 4096) == answer
    assert dns_message.truncate(answer, query, 512) == head(0x8380) + QUESTION


@given(
    st.binary(max_size=600)
    | st.builds(
        lambda counts, rest: head(*counts) + rest,
        st.tuples(st.just(0x0100), *[st.integers(0, 3)] * 4),
        st.binary(max_size=400),
    )
)
@example(head() + b"\x3f" * 500)
def test_whatever_comes_is_answered_or_not(message):
    answer = said(message)
    if answer is not None:
        flags, questions, _, *rest = struct.unpack_from(">5H", answer)
        assert flags & 0x8000
        assert rest == [0, 0]
        if not questions:
            assert len(answer) == 10
        query = dns_message.read(message)
        again = dns_message.read(query.message(1)) if not query.error else None
        if again is not None:  # what is sent on means the same
            assert (again.question, again.records, again.error) == (query.question, query.records, 0)


labels = st.lists(st.binary(min_size=1, max_size=63), max_size=8).filter(lambda labels: sum(map(len, labels)) < 240)


@given(labels, st.integers(0, 65535), st.integers(0, 65535))
def test_every_name_comes_back_as_it_was(parts, kind, class_):
    name = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    query = dns_message.read(head() + name + struct.pack(">2H", kind, class_))
    assert (query.name, query.type, query.error) == (name, kind, 0)
    assert dns_message.response(query, [], 600, 512) == head(0x8180) + name + struct.pack(">2H", kind, class_)
    if query.text:
        assert dns_message.name(query.text) == name
