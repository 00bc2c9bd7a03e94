"""A DNS server whose answer depends on the first label of the name, and a client.

    python3 tests/harness/dns_server.py ADDRESS NUMBER      answers at ADDRESS, port 53, until it is killed

    ok           192.0.2.NUMBER                            silent       nothing
    servfail, refused, notimp, formerr                     a complaint
    nx, nxaa     no such name; the same from an authority  many         60 addresses
    trunc        60 addresses over TCP, cut over UDP       slow         after half a second
    deep         no such name, but in a domain
    forged       answers with a wrong number, to another question and from another port, then the right one

followed by a server's number, such a word is meant for that one alone: "servfail1" is "ok" for all others. It prints a
line when it is ready, and for each question: udp or tcp, name, type, and how many additional records came with it.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time

SO_RCVBUFFORCE = 33
CODES = {"formerr": 0x8181, "servfail": 0x8182, "nx": 0x8183, "nxaa": 0x8583, "notimp": 0x8184, "refused": 0x8185}
TYPES = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "PTR": 12, "ANY": 255}


def packed(name: str) -> bytes:
    """A name as labels with their lengths (RFC 1035, 3.1)."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def unpacked(message: bytes, offset: int) -> tuple[str, int]:
    """A name, and where it ends."""
    labels, end = [], 0
    while length := message[offset]:
        if length >= 0xC0:
            end, offset = end or offset + 2, struct.unpack_from(">H", message, offset)[0] & 0x3FFF
            continue
        labels.append(message[offset + 1 : offset + 1 + length].decode("latin-1"))
        offset += 1 + length
    return ".".join(labels), end or offset + 1


# ---- who answers -----------------------------------------------------------------------------------------------


def address_record(address: str) -> bytes:
    """An A record for the name in the question, to which it points."""
    return b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 60, 4) + socket.inet_aton(address)


class Server:
    """The name server, on UDP and TCP; making one serves until the process is killed."""

    def __init__(self, address: str, number: str) -> None:
        self.number, self.printing = number, threading.Lock()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        print("ready", flush=True)
        while True:
            message, asker = self.udp.recvfrom(65535)
            threading.Thread(target=self._reply, args=(message, asker), daemon=True).start()

    def _reply(self, message: bytes, asker: tuple[str, int]) -> None:
        answer = self.answer(message, "udp")
        name, end = unpacked(message, 12)
        if self.word(name) == "forged":
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            other.sendto(answer.replace(b"\xc0\0\x02", b"\xc0\0\x63"), asker)
            self.udp.sendto(bytes([answer[0] ^ 1]) + answer[1:-1] + b"\x64", asker)
            question = packed("other.x") + message[end : end + 4]
            self.udp.sendto(answer[:12] + question + address_record("192.0.2.101"), asker)
            self.udp.sendto(b"junk", asker)
        if answer:
            self.udp.sendto(answer, asker)

    def _accept(self) -> None:
        while True:
            threading.Thread(target=self._serve, args=(self.tcp.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        while message := received(connection):
            answer = self.answer(message, "tcp")
            if answer:
                connection.sendall(struct.pack(">H", len(answer)) + answer)

    def word(self, name: str) -> str:
        """What is asked of this server: the first label without the server's number; "ok" if it is meant for another."""
        word = name.partition(".")[0].lower()
        return word.removesuffix(self.number) if word.endswith(self.number) else word if word.isalpha() else "ok"

    def answer(self, message: bytes, protocol: str) -> bytes:
        """The answer to a message; b"" for none."""
        name, end = unpacked(message, 12)
        (kind,) = struct.unpack_from(">H", message, end)
        shown = "".join(letter if letter.isalnum() or letter in "._-" else "?" for letter in name) or "."
        with self.printing:
            print(protocol, shown, kind, struct.unpack_from(">H", message, 10)[0], flush=True)
        word, records = self.word(name), [address_record(f"192.0.2.{self.number}")]
        flags = CODES["nxaa"] if name == "deep" else CODES.get(word, 0x8180)
        if word == "silent":
            return b""
        if word == "slow":
            time.sleep(0.5)
        if word in ("many", "trunc"):
            records = [address_record(f"192.0.2.{last}") for last in range(1, 61)]
        if flags & 15 or (word == "trunc" and protocol == "udp"):
            records, flags = [], flags if flags & 15 else 0x8380
        return (
            message[:2] + struct.pack(">5H", flags, 1, len(records), 0, 0) + message[12 : end + 4] + b"".join(records)
        )


def received(connection: socket.socket) -> bytes:
    """A message that comes after its length; b"" at the end."""
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack(">H", data[:2])[0]:
        part = connection.recv(2 + struct.unpack(">H", data[:2])[0] - len(data) if len(data) >= 2 else 2 - len(data))
        if not part:
            return b""
        data += part
    return data[2:]


# ---- who asks --------------------------------------------------------------------------------------------------


def query(name: str, kind: str = "A", *, number: int = 0x1234, size: int = 0) -> bytes:
    """A question; `size` is what a datagram may carry, 0 for saying nothing of that."""
    extra = b"\0" + struct.pack(">2HIH", 41, size, 0, 0) if size else b""
    return (
        struct.pack(">6H", number, 0x0100, 1, 0, 0, bool(size))
        + packed(name)
        + struct.pack(">2H", TYPES[kind], 1)
        + extra
    )


class Answer:
    """`.number`, `.flags`, `.code`, `.question` (str), `.data` (addresses or names), `.ttl`, `.size` (bytes)."""

    def __init__(self, message: bytes) -> None:
        self.number, self.flags, questions, answers, _, _ = struct.unpack_from(">6H", message)
        self.code, self.size, offset = self.flags & 15, len(message), 12
        self.question, self.data, self.ttl = "", [], 0
        if questions:
            self.question, offset = unpacked(message, offset)
            offset += 4
        for _ in range(answers):
            _, offset = unpacked(message, offset)
            kind, _, self.ttl, length = struct.unpack_from(">2HIH", message, offset)
            offset += 10
            data = message[offset : offset + length]
            self.data.append(
                unpacked(message, offset)[0]
                if kind == 12
                else socket.inet_ntop(socket.AF_INET6 if length == 16 else socket.AF_INET, data)
            )
            offset += length
        assert offset == len(message)

    @property
    def truncated(self) -> bool:
        """Whether the flag TC is set."""
        return bool(self.flags & 0x0200)


if __name__ == "__main__":
    Server(*sys.argv[1:])
