"""A blob on its way to a registry (OCI distribution-spec, "Pushing blobs").

    POST /v2/NAME/blobs/uploads/?mount=DIGEST&from=OTHER     it lies there already, in another repository: 201, done
    POST /v2/NAME/blobs/uploads/                             it does not: 202, and Location says where to bring it
    PUT  LOCATION?digest=DIGEST                              the whole of it, in one go

or, where a registry takes no more than so much at once (it says so beforehand, or answers 413),

    PATCH LOCATION, PATCH LOCATION ..., PUT LOCATION?digest=DIGEST

What has failed for a moment begins again with a new POST: the place that the first one named has taken some of the
bytes already.
"""

from __future__ import annotations

import os
from functools import partial
from urllib.parse import urlencode

from minirun.errors import EngineError
from minirun.image.registry import responses
from minirun.image.registry.http import done
from minirun.image.registry.responses import Denied
from minirun.image.registry.urls import onward
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import urllib3

    from minirun.image.registry.client import Registry

#: Bytes at a time where it must be chunks, and the most that a registry may want one to have: it is held in memory.
CHUNK, LARGEST_CHUNK = 8 << 20, 64 << 20
#: "Too large", "not in this way", "not implemented".
NOT_AS_A_WHOLE = (405, 413, 501)
BYTES = "application/octet-stream"


class Upload:
    """One blob.

    Arguments: registry; descriptor; content, opens it anew each time: a file; near (str), another repository of the
    same registry in which the blob should be, "" if none is known.
    """

    def __init__(self, registry: Registry, descriptor: dict, content: Callable[[], Any], near: str = "") -> None:
        self.registry, self.content, self.near = registry, content, near
        self.digest, self.size = descriptor["digest"], descriptor["size"]

    def bring(self) -> str:
        """Have the registry have it. Returns: from which repository it took it, "" if the bytes went over the line.

        Errors: Denied; Unreachable.
        """
        if self.near and self._mount():
            return self.near
        answer = self.registry.connection.persist(self._whole)
        if answer.status in NOT_AS_A_WHOLE:
            done(answer)
            answer = self._in_chunks(self._begin())
        self._expect(answer, 201)
        return ""

    def _mount(self) -> bool:
        where = f"blobs/uploads/?{urlencode({'mount': self.digest, 'from': self.near})}"
        try:
            answer = self.registry.ask("POST", where, {"Content-Length": "0"}, also=f"repository:{self.near}:pull")
        except Denied:  # not our repository: then the bytes have to travel
            return False
        done(answer)
        return answer.status == 201

    def _begin(self) -> urllib3.BaseHTTPResponse:
        answer = self.registry.ask("POST", "blobs/uploads/", {"Content-Length": "0"})
        self._expect(answer, 202)
        return answer

    def _whole(self) -> urllib3.BaseHTTPResponse:
        """The answer to the whole blob; not an error, for it may be that it wants to come in chunks."""
        begun = self._begin()
        if responses.number(begun.headers.get("OCI-Chunk-Min-Length")):
            return self._in_chunks(begun)
        return self.registry.send(
            "PUT",
            self._place(begun, last=True),
            {"Content-Type": BYTES, "Content-Length": str(self.size)},
            self.content,
        )

    def _in_chunks(self, answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        """Arguments: answer, the one that says where to. Returns: the answer to the last byte."""
        least = responses.number(answer.headers.get("OCI-Chunk-Min-Length"))
        if least > LARGEST_CHUNK:
            raise EngineError(f"the registry wants chunks of {least} bytes, more than the {LARGEST_CHUNK} that we make")
        have = 0
        with self.content() as content:
            while have < self.size:
                part = content.read(max(CHUNK, least))
                if not part:
                    raise EngineError(f"blob {self.digest} is shorter than its manifest says")
                answer = self.registry.send(
                    "PATCH",
                    self._place(answer),
                    {
                        "Content-Type": BYTES,
                        "Content-Length": str(len(part)),
                        "Content-Range": f"{have}-{have + len(part) - 1}",
                    },
                    partial(bytes, part),
                )
                self._expect(answer, 202)
                have += len(part)
        return self.registry.send("PUT", self._place(answer, last=True), {"Content-Length": "0"}, None)

    def _place(self, answer: urllib3.BaseHTTPResponse, *, last: bool = False) -> str:
        """Where the next bytes go."""
        base = self.registry.base
        url = onward(f"{base}/v2/{self.registry.path}/blobs/uploads/", answer.headers.get("Location") or "")
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'digest': self.digest})}" if last else url

    def _expect(self, answer: urllib3.BaseHTTPResponse, status: int) -> None:
        data = responses.read(answer, f"{self.registry.base}/v2/{self.registry.path}")
        if answer.status != status or status == 202 and not answer.headers.get("Location"):
            raise responses.refusal(answer, data)


class Counted:
    """A file of which somebody wants to know how much was read. Arguments: path (str); on_read, called with that."""

    def __init__(self, path: str, on_read: Callable[[int], None]) -> None:
        try:
            self._file = open(path, "rb")
        except OSError as reason:
            raise EngineError(f"blob {os.path.basename(path)}: {os.strerror(reason.errno or 0).lower()}") from None
        self._have, self._passed = 0, on_read

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, count: int) -> bytes:
        """The next bytes."""
        part = self._file.read(count)
        self._have += len(part)
        self._passed(self._have)
        return part

    def close(self) -> None:
        """Give it up."""
        self._file.close()
