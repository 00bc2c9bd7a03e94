"""DNS messages: a header of six numbers, a question, then resource records (RFC 1035, section 4).

    id · flags · number of questions, answers, authorities, additional records     six times two bytes
    question                                                                       name, type, class
    records                                                                        name, type, class, ttl, length, data

A name is a sequence of labels, each with its length before it, and ends with an empty one: 2 u 1 3 f o o 0 is "u1.foo".
A length of 192 or more is a pointer to an earlier name (compression), and a hostile one can point in circles; so the
name of a question is read without following pointers, and those of records are only skipped.

Messages are untrusted input: whatever the bytes are, `read` gives a query, an error code, or nothing.
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
#: The most bytes in a datagram unless the query says otherwise (EDNS, RFC 6891); in any datagram; and in a message.
DATAGRAM, LONGEST_DATAGRAM, MESSAGE = 512, 65507, 65535
#: Bytes that are not in host names. A name with one of them, or with a dot in a label, is unknown.
_NOT_IN_NAMES = bytes({*range(0x21), *range(0x7F, 0x100), *b"'@;()\"\\"})


class Query:
    """A query.

    `.id` and `.flags`, of the header; `.name` (bytes, encoded), `.type`, and `.question`, both with the class, b"" when
    it could not be read; `.text`, the name with dots and without the last one, "" for one that is no host name;
    `.records` (bytes) that came with it, and `.counts`, how many in each section; `.size` (bytes), the longest response
    in a datagram; `.error`, 0 or the RCODE (FORMERR, NOTIMP) of the response.
    """

    __slots__ = ("error", "counts", "flags", "id", "name", "question", "records", "size", "text", "type")

    def __init__(self, number: int, flags: int, error: int = 0) -> None:
        self.id, self.flags, self.error = number, flags, error
        self.name, self.text, self.type, self.question = b"", "", 0, b""
        self.records, self.counts, self.size = b"", [0, 0, 0], DATAGRAM

    def is_single(self) -> bool:
        """Whether the name has at most one label."""
        return self.name[0] + 2 >= len(self.name)

    def message(self, number: int) -> bytes:
        """The query with another id, to be forwarded; without any bytes after its last record."""
        return HEADER.pack(number, self.flags, 1, *self.counts) + self.question + self.records


class Malformed(Exception):
    """The bytes are not a DNS message."""


def read(message: bytes) -> Query | None:
    """Parse a message. Returns: the query; None for what gets no response: a response, or less than a header."""
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
        query.error = FORMERR
    return query


def _without_question(message: bytes) -> Query | None:
    if len(message) < HEADER.size:
        return None
    number, flags, questions = HEADER.unpack(message)[:3]
    return Query(number, flags, FORMERR) if not (questions or flags & (QR | OPCODE)) else None


def _read_question(message: bytes, query: Query) -> int:
    """Read the question. Returns: the offset of its end. Missing bytes of type and class are zero, as in Docker."""
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
    if text.count(b".") < len(labels) and text == text.translate(None, _NOT_IN_NAMES):
        query.text = text.decode("ascii")
    return offset + 4


def _read_records(message: bytes, offset: int, counts: list[int], query: Query) -> None:
    """Skip the records, of which there may be fewer than counted; OPT has the size of the response (EDNS)."""
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


# ---- responses -----------------------------------------------------------------------------------------------


def error_response(query: Query) -> bytes:
    """The response to a query with an `.error`."""
    flags = query.flags & ~(AA | RCODE) | QR | query.error
    if query.error == FORMERR:
        flags &= ~OPCODE
    return HEADER.pack(query.id, flags, 1 if query.question else 0, 0, 0, 0) + query.question


def response(query: Query, data: list[bytes], ttl: int, limit: int) -> bytes:
    """The response: for each of `data` a record of the type in the query.

    Arguments: ttl (int, seconds), how long it may be cached; limit (int, bytes): what does not fit is left out, and a
    datagram has the TC bit then, so that the client tries again over TCP.
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
    """Encode a host name for a message. Errors: Malformed for one that is too long."""
    labels = [label.encode(errors="surrogateescape") for label in text.split(".") if label]
    packed = b"".join(bytes([len(label)]) + label for label in labels if len(label) <= LABEL) + b"\0"
    if len(packed) > NAME or any(len(label) > LABEL for label in labels):
        raise Malformed
    return packed


# ---- responses of other servers ------------------------------------------------------------------------------


def is_response(message: bytes, query: Query, number: int) -> bool:
    """Whether a message is a response to this query, which was forwarded with this id instead of its own.

    An error response may leave the question out.
    """
    if len(message) < HEADER.size:
        return False
    found, flags, questions = HEADER.unpack_from(message)[:3]
    if found != number or not flags & QR:
        return False
    if not questions:
        return bool(flags & RCODE)
    return message[HEADER.size : HEADER.size + len(query.question)].lower() == query.question.lower()


def with_id(message: bytes, number: int) -> bytes:
    """The same message with another id."""
    return number.to_bytes(2, "big") + message[2:]


def truncate(message: bytes, query: Query, limit: int) -> bytes:
    """The response if it fits into `limit` (int, bytes), else one with the question only and the TC bit."""
    if len(message) <= limit:
        return message
    number, flags = HEADER.unpack_from(message)[:2]
    return HEADER.pack(number, flags | TC, 1, 0, 0, 0) + query.question
