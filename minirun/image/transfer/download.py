"""Downloads blobs: several at a time, each once for all processes, and resumed after an interruption.

A download is a file under the store's tmp/ whose name is the digest. The process that downloads it holds a flock(2) on
it; a second pull of the same blob waits for this lock and then finds the blob in the store. If the first pull was
interrupted, by the network or by `kill -9`, its lock is released and its file is still there: the next pull digests
what is there and requests the rest (Range, RFC 9110 section 14.2). A file becomes a blob only when its size and its
digest match the manifest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from urllib3.exceptions import HTTPError

from minirun import store
from minirun.errors import EngineError
from minirun.image.registry.http import ATTEMPTS, PAUSE
from minirun.image.registry.http_errors import unreachable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib3

    from minirun.image.content.image_writer import ImageWriter
    from minirun.image.progress import Progress
    from minirun.image.registry.client import Registry

#: Downloads at the same time, as in dockerd (max-concurrent-downloads).
THREADS = 3
CHUNK = 256 * 1024


class Cancelled(Exception):
    """Another part of the pull has failed: this download is cancelled."""


class Downloads:
    """The downloads of one pull: `with Downloads(...) as downloads: downloads.start(descriptor)`.

    Arguments: registry; writer, which gets the complete blobs; progress, the listener.
    """

    def __init__(self, registry: Registry, writer: ImageWriter, progress: Progress) -> None:
        self.registry, self.writer, self.progress = registry, writer, progress
        self.stop = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, "download")

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop.set()
        # After Ctrl-C do not wait for a registry that does not respond.
        self._pool.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)

    def start(self, descriptor: dict) -> Future[str]:
        """Start the download of a blob. Returns: a future with its path."""
        return self._pool.submit(self._download, descriptor)

    def _download(self, descriptor: dict) -> str:
        layout, digest = self.writer.layout, descriptor["digest"]
        path = layout.download(digest)
        while not self.writer.has_blob(digest):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if not self._lock(fd, path):
                    continue  # another pull has finished it or given up: check again
                with store.disk_errors(f"write {path}"):
                    _Download(self, descriptor, fd).run()
                    os.fsync(fd)  # before the rename to the name of a complete blob
                self.writer.add_blob(path, digest)
            except EngineError:
                if not os.fstat(fd).st_size:
                    store.discard(path)  # nothing to resume
                raise
            finally:
                os.close(fd)
        self.progress.update(digest, "Download complete")
        return layout.blob(digest)

    def _lock(self, fd: int, path: str) -> bool:
        """Wait for the lock on a download. Returns: False when the file is no longer the one at `path`."""
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # do not block: this pull may be cancelled meanwhile
                if self.stop.wait(0.05):
                    raise Cancelled from None
        try:
            return os.path.samestat(os.fstat(fd), os.stat(path))
        except FileNotFoundError:
            return False


class _Download:
    """One blob that is downloaded, from where its file ends."""

    def __init__(self, downloads: Downloads, descriptor: dict, fd: int) -> None:
        self.registry, self.progress, self.stop = downloads.registry, downloads.progress, downloads.stop
        self.digest, self.size, self.fd = descriptor["digest"], descriptor["size"], fd
        self.hash = hashlib.sha256()
        self.have = 0

    def run(self) -> None:
        """Download what is missing. Errors: EngineError when the digest does not match; then the file is emptied."""
        self._digest_existing()
        wait, failures = PAUSE, 0
        while self.have < self.size or not self.size:
            before = self.have
            try:
                self._fetch()
                if self.have < self.size:
                    raise HTTPError("unexpected EOF")
                break
            except HTTPError as reason:
                failures = 1 if self.have > before else failures + 1
                if failures >= ATTEMPTS:
                    raise unreachable(
                        "GET", f"{self.registry.base}/v2/{self.registry.path}/blobs/{self.digest}", reason
                    ) from None
                if self.stop.wait(wait * 2**failures):
                    raise Cancelled from None
        self.progress.update(self.digest, "Verifying Checksum")
        if f"sha256:{self.hash.hexdigest()}" != self.digest:
            os.ftruncate(self.fd, 0)
            raise EngineError(f"filesystem layer verification failed for digest {self.digest}")

    def _digest_existing(self) -> None:
        if os.fstat(self.fd).st_size > self.size:
            os.ftruncate(self.fd, 0)
        while data := os.read(self.fd, CHUNK):
            self.hash.update(data)
            self.have += len(data)
        self.progress.transferred(self.digest, self.have, self.size)

    def _fetch(self) -> None:
        response = self.registry.blob(self.digest, self.have)
        try:
            if not self._continues(response):
                self._restart()
                if response.status == 416:
                    return
            while data := response.read1(CHUNK):  # what has arrived; read() would wait for a full chunk
                if self.stop.is_set():
                    raise Cancelled
                if self.have + len(data) > self.size:
                    os.ftruncate(self.fd, 0)
                    raise EngineError(f"layer {self.digest} is larger than the manifest says ({self.size} bytes)")
                self.hash.update(data)
                self.have += len(data)
                store.write_all(self.fd, data)
                self.progress.transferred(self.digest, self.have, self.size)
        except BaseException:
            response.close()  # with unread data the connection cannot be reused
            raise
        response.release_conn()

    def _continues(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Whether a response continues where the file ends."""
        if response.status == 206:
            return (response.headers.get("Content-Range") or "").startswith(f"bytes {self.have}-")
        return self.have == 0 and response.status == 200

    def _restart(self) -> None:
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.hash, self.have = hashlib.sha256(), 0
