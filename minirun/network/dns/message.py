"""DNS messages: a header of six numbers, a question, then resource records (RFC 1035, section 4).

    id · flags · how many questions, answers, authorities, additional records      six times two bytes
    question                                                                       name, type, class
    records                                                                        name, type, class, ttl, length, data

A name is a row of labels, each with its length before it, and ends with an empty one: 2 u 1 3 f o o 0 is "u1.foo". A
length of 192 or more is no length but a pointer to a name that stands earlier, and a hostile one can point in circles;
so the name of a question is read without following any, and those of records are only stepped over.

What comes in was written by anybody: whatever the bytes are, `read` gives a question, a complaint, or nothing.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">2HIH")  # type, class, ttl, length of the data

# RFC 1035, section 4.1.1; RFC 4035 for the last one
QR, OPCODE, AA, TC, RD, RA, CD, RCODE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010, 0x000F
QUERY, NOTIFY = 0, 4 << 11
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
A, PTR, MX, AAAA, OPT = 1, 12, 15, 28, 41
IN = 1
#: The longest name, label by label, with all lengths; the longest label.
NAME, LABEL = 255, 63
#: What fits into a datagram unless the asker says otherwise (EDNS, RFC 6891); into any datagram; and into a message.
DATAGRAM, LONGEST_DATAGRAM, MESSAGE = 512, 65507, 65535
#: Bytes that a host name does not have. A name with one of them, or with a dot in a label, is nobody's.
_STRANGE = bytes({*range(0x21), *range(0x7F, 0x100), *b"'@;()\"\\"})


class Query:
    """A question that was asked.

    `.id` and `.flags`, of the header; `.name` (bytes, as it was written), `.type`, and `.question`, both with the
    class, b"" when it could not be read; `.text`, the name with dots and without the last one, "" for one that no host
    has; `.records` (bytes) that came with it, and `.counts`, how many in each section; `.size`, the longest answer
    that a datagram may carry; `.complaint`, 0 or the reason (FORMERR, NOTIMP) why it gets no answer.
    """

    __slots__ = ("complaint", "counts", "flags", "id", "name", "question", "records", "size", "text", "type")

    def __init__(self, number: int, flags: int, complaint: int = 0) -> None:
        self.id, self.flags, self.complaint = number, flags, complaint
        self.name, self.text, self.type, self.question = b"", "", 0, b""
        self.records, self.counts, self.size = b"", [0, 0, 0], DATAGRAM

    def is_single(self) -> bool:
        """Whether the name has at most one label."""
        return self.name[0] + 2 >= len(self.name)

    def message(self, number: int) -> bytes:
        """The query, to be sent on with another id; without what may have followed its last record."""
        return HEADER.pack(number, self.flags, 1, *self.counts) + self.question + self.records


class Malformed(Exception):
    """Bytes that are no DNS message."""


def read(message: bytes) -> Query | None:
    """The question in a message; None for what gets no answer at all: an answer, or too little to be anything."""
    if len(message) <= HEADER.size:
        return _without_question(message)
    number, flags, questions, *counts = HEADER.unpack_from(message)
    if flags & QR:
        return None
    if flags & OPCODE not in (QUERY, NOTIFY):
        return Query(number, flags, NOTIMP)
    answers, authorities, additional = counts
    if questions != 1 or answers > 1 or authorities > 1 or additional > 2:
        return Query(number, flags, FORMERR)
    query = Query(number, flags)
    try:
        offset = _read_question(message, query)
        if offset < len(message):
            _read_records(message, offset, counts, query)
    except Malformed:
        query.complaint = FORMERR
    return query


def _without_question(message: bytes) -> Query | None:
    if len(message) < HEADER.size:
        return None
    number, flags, questions = HEADER.unpack(message)[:3]
    return Query(number, flags, FORMERR) if not (questions or flags & (QR | OPCODE)) else None


def _read_question(message: bytes, query: Query) -> int:
    """Returns: where it ends. What is missing of type and class counts as zero, as in Docker."""
    labels, offset = [], HEADER.size
    while length := _byte(message, offset):
        if length > LABEL or offset + length + 2 - HEADER.size > NAME:
            raise Malformed
        labels.append(message[offset + 1 : offset + 1 + length])
        offset += 1 + length
    offset += 1
    rest = message[offset : offset + 4]
    if len(rest) < 4:
        if len(rest) == 1:
            raise Malformed
        rest = rest[:2].ljust(4, b"\0")
    query.name = message[HEADER.size : offset]
    query.question = query.name + rest
    query.type = rest[0] << 8 | rest[1]
    text = b".".join(labels)
    if text.count(b".") < len(labels) and text == text.translate(None, _STRANGE):
        query.text = text.decode("ascii")
    return offset + 4


def _read_records(message: bytes, offset: int, counts: list[int], query: Query) -> None:
    """Step over the records. One of them may say how long an answer may be; there may be fewer than were counted."""
    start = offset
    for section, count in enumerate(counts):
        while query.counts[section] < count and offset < len(message):
            offset = _skip_name(message, offset)
            if offset + _RECORD.size > len(message):
                raise Malformed
            kind, size, _, length = _RECORD.unpack_from(message, offset)
            offset += _RECORD.size + length
            if offset > len(message):
                raise Malformed
            query.counts[section] += 1
            if kind == OPT and section == 2:
                query.size = min(max(DATAGRAM, size), LONGEST_DATAGRAM)
    query.records = message[start:offset]


def _byte(message: bytes, offset: int) -> int:
    if offset >= len(message):
        raise Malformed
    return message[offset]


def _skip_name(message: bytes, offset: int) -> int:
    while length := _byte(message, offset):
        if length >= 0xC0:
            return offset + 2  # a pointer ends a name
        if length > LABEL:
            raise Malformed
        offset += 1 + length
    return offset + 1


# ---- answers ---------------------------------------------------------------------------------------------------


def complaint(query: Query) -> bytes:
    """The answer to what cannot be answered."""
    flags = query.flags & ~(AA | RCODE) | QR | query.complaint
    if query.complaint == FORMERR:
        flags &= ~OPCODE
    return HEADER.pack(query.id, flags, 1 if query.question else 0, 0, 0, 0) + query.question


def answer(query: Query, data: list[bytes], ttl: int, limit: int) -> bytes:
    """The answer: a record of the type that was asked for, for each of `data`.

    Arguments: ttl (int, seconds), for how long it may be remembered; limit (int, bytes), what does not fit is left out,
    and a datagram says so, so that the asker comes again over TCP.
    """
    flags = QR | RA | query.flags & (OPCODE | (0 if query.flags & OPCODE else RD | CD))
    room = limit - HEADER.size - len(query.question)
    records = []
    for each in data:
        record = query.name + _RECORD.pack(query.type, IN, ttl, len(each)) + each
        room -= len(record)
        if room < 0:
            flags |= TC if limit <= LONGEST_DATAGRAM else 0
            break
        records.append(record)
    return HEADER.pack(query.id, flags, 1, len(records), 0, 0) + query.question + b"".join(records)


def name(text: str) -> bytes:
    """A name of a host as it stands in a message. Errors: Malformed for one that is too long."""
    labels = [label.encode(errors="surrogateescape") for label in text.split(".") if label]
    packed = b"".join(bytes([len(label)]) + label for label in labels if len(label) <= LABEL) + b"\0"
    if len(packed) > NAME or any(len(label) > LABEL for label in labels):
        raise Malformed
    return packed


# ---- what others answer ----------------------------------------------------------------------------------------


def answers(message: bytes, query: Query, number: int) -> bool:
    """Whether a message is an answer to this query, which was sent on with this number instead of its own.

    A complaint may leave the question out.
    """
    if len(message) < HEADER.size:
        return False
    found, flags, questions = HEADER.unpack_from(message)[:3]
    if found != number or not flags & QR:
        return False
    if not questions:
        return bool(flags & RCODE)
    return message[HEADER.size : HEADER.size + len(query.question)].lower() == query.question.lower()


def renumbered(message: bytes, number: int) -> bytes:
    """The same message with another id."""
    return number.to_bytes(2, "big") + message[2:]


def cut(message: bytes, query: Query, limit: int) -> bytes:
    """The answer if a datagram may carry it, else the question alone, with a word that more was there."""
    if len(message) <= limit:
        return message
    number, flags = HEADER.unpack_from(message)[:2]
    return HEADER.pack(number, flags | TC, 1, 0, 0, 0) + query.question
