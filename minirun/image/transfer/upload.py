"""Uploads a blob to a registry (OCI distribution-spec, "Pushing blobs").

    POST /v2/NAME/blobs/uploads/?mount=DIGEST&from=OTHER     mount it from another repository: 201 when it is there
    POST /v2/NAME/blobs/uploads/                             start an upload: 202, Location is the upload's URL
    PUT  LOCATION?digest=DIGEST                              monolithic upload: the whole blob in one request

or a chunked upload, when the registry limits the size of a request (it says so in the 202, or responds 413):

    PATCH LOCATION, PATCH LOCATION ..., PUT LOCATION?digest=DIGEST

After a transient failure the upload starts again with a new POST, because the old upload has got some of the bytes.
"""

from __future__ import annotations

import os
from functools import partial
from urllib.parse import urlencode

from minirun.errors import EngineError
from minirun.image.registry import responses
from minirun.image.registry.http import release
from minirun.image.registry.responses import RegistryError
from minirun.image.registry.urls import resolve_location
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import urllib3

    from minirun.image.registry.client import Registry

#: Bytes of a chunk, and the most that a registry may ask for: a chunk is held in memory.
CHUNK, MAX_CHUNK = 8 << 20, 64 << 20
#: Statuses that refuse a monolithic upload: method not allowed, content too large, not implemented.
MONOLITHIC_REFUSED = (405, 413, 501)
BYTES = "application/octet-stream"


class Upload:
    """The upload of one blob.

    Arguments: registry; descriptor; content, called for each attempt, opens the blob's file; mount_from (str), another
    repository of the same registry that should have the blob, "" for none.
    """

    def __init__(self, registry: Registry, descriptor: dict, content: Callable[[], Any], mount_from: str = "") -> None:
        self.registry, self.content, self.mount_from = registry, content, mount_from
        self.digest, self.size = descriptor["digest"], descriptor["size"]

    def run(self) -> str:
        """Upload or mount the blob. Returns: the repository that it was mounted from, "" when it was uploaded.

        Errors: RegistryError; Unreachable.
        """
        if self.mount_from and self._mount():
            return self.mount_from
        response = self.registry.http.retry(self._monolithic)
        if response.status in MONOLITHIC_REFUSED:
            release(response)
            response = self._chunked(self._start())
        self._expect(response, 201)
        return ""

    def _mount(self) -> bool:
        where = f"blobs/uploads/?{urlencode({'mount': self.digest, 'from': self.mount_from})}"
        try:
            response = self.registry.request(
                "POST", where, {"Content-Length": "0"}, extra_scope=f"repository:{self.mount_from}:pull"
            )
        except RegistryError:  # no access to that repository: upload the blob
            return False
        release(response)
        return response.status == 201

    def _start(self) -> urllib3.BaseHTTPResponse:
        response = self.registry.request("POST", "blobs/uploads/", {"Content-Length": "0"})
        self._expect(response, 202)
        return response

    def _monolithic(self) -> urllib3.BaseHTTPResponse:
        """Start an upload and send the whole blob. Returns: the response, which may ask for chunks."""
        started = self._start()
        if responses.header_number(started.headers.get("OCI-Chunk-Min-Length")):
            return self._chunked(started)
        return self.registry.request_url(
            "PUT",
            self._upload_url(started, last=True),
            {"Content-Type": BYTES, "Content-Length": str(self.size)},
            self.content,
        )

    def _chunked(self, response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        """Send the blob in chunks. Arguments: response, to the POST. Returns: the response to the PUT."""
        min_chunk = responses.header_number(response.headers.get("OCI-Chunk-Min-Length"))
        if min_chunk > MAX_CHUNK:
            raise EngineError(f"the registry wants chunks of {min_chunk} bytes, more than the {MAX_CHUNK} that we make")
        sent = 0
        with self.content() as content:
            while sent < self.size:
                part = content.read(max(CHUNK, min_chunk))
                if not part:
                    raise EngineError(f"blob {self.digest} is shorter than its manifest says")
                response = self.registry.request_url(
                    "PATCH",
                    self._upload_url(response),
                    {
                        "Content-Type": BYTES,
                        "Content-Length": str(len(part)),
                        "Content-Range": f"{sent}-{sent + len(part) - 1}",
                    },
                    partial(bytes, part),
                )
                self._expect(response, 202)
                sent += len(part)
        return self.registry.request_url("PUT", self._upload_url(response, last=True), {"Content-Length": "0"}, None)

    def _upload_url(self, response: urllib3.BaseHTTPResponse, *, last: bool = False) -> str:
        """The URL of the next request. Arguments: response, the last one; last (bool), it completes the upload."""
        base = self.registry.base
        url = resolve_location(f"{base}/v2/{self.registry.path}/blobs/uploads/", response.headers.get("Location") or "")
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'digest': self.digest})}" if last else url

    def _expect(self, response: urllib3.BaseHTTPResponse, status: int) -> None:
        data = responses.read_body(response, f"{self.registry.base}/v2/{self.registry.path}")
        if response.status != status or status == 202 and not response.headers.get("Location"):
            raise responses.error_from(response, data)


class ProgressFile:
    """A file that reports reads. Arguments: path (str); on_read, called with the bytes read so far."""

    def __init__(self, path: str, on_read: Callable[[int], None]) -> None:
        try:
            self._file = open(path, "rb")
        except OSError as reason:
            raise EngineError(f"blob {os.path.basename(path)}: {os.strerror(reason.errno or 0).lower()}") from None
        self._sent, self._on_read = 0, on_read

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes."""
        part = self._file.read(count)
        self._sent += len(part)
        self._on_read(self._sent)
        return part

    def close(self) -> None:
        """Close the file."""
        self._file.close()
