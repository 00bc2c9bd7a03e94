"""Blobs on their way in: several at a time, each only once, and never from the beginning again if it can be helped.

A download is a file under the store's tmp/ whose name is the digest. Who downloads holds a flock(2) on it; a second
pull of the same blob, by whatever process, queues up behind it and finds the blob in its place. If the first was cut
short, by a bad line or by `kill -9`, its lock is gone and its file is still there: the next one digests what there is,
asks for the rest (Range, RFC 9110 section 14.2) and goes on. A file becomes a blob only when its size and its digest
are what the manifest says.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from urllib3.exceptions import HTTPError

from minirun import store
from minirun.errors import EngineError, KernelError
from minirun.image.registry.http import ATTEMPTS, PAUSE
from minirun.image.registry.http_errors import unreachable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib3

    from minirun.image.content.image_writer import ImageWriter
    from minirun.image.progress import Progress
    from minirun.image.registry.client import Registry

#: How many layers come at the same time, as in dockerd.
THREADS = 3
CHUNK = 256 * 1024


class Interrupted(Exception):
    """The pull has failed elsewhere: this download is no longer needed."""


class Downloads:
    """The blobs of one image on their way: `with Downloads(...) as downloads: downloads.begin(descriptor)`.

    Arguments: registry; writer, which takes them in; progress, who is told how far they are.
    """

    def __init__(self, registry: Registry, writer: ImageWriter, progress: Progress) -> None:
        self.registry, self.writer, self.progress = registry, writer, progress
        self.stop = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, "download")

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop.set()
        # A person who presses Ctrl-C does not wait for a registry that does not answer.
        self._pool.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)

    def begin(self, descriptor: dict) -> Future[str]:
        """Have a blob come. Returns: a promise of its path."""
        return self._pool.submit(self._come, descriptor)

    def _come(self, descriptor: dict) -> str:
        layout, digest = self.writer.layout, descriptor["digest"]
        path = layout.download(digest)
        while not self.writer.has_blob(digest):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if not self._is_mine(fd, path):
                    continue  # another pull has finished it, or given it up: look again
                with _disk(path):
                    _Download(self, descriptor, fd).run()
                    os.fsync(fd)  # before it has a name that says it is whole
                self.writer.add_blob(path, digest)
            except EngineError:
                if not os.fstat(fd).st_size:
                    store.discard(path)  # nothing of it is worth to go on from
                raise
            finally:
                os.close(fd)
        self.progress.update(digest, "Download complete")
        return layout.blob(digest)

    def _is_mine(self, fd: int, path: str) -> bool:
        """Queue up for a download; False when the file is no longer the one at `path`."""
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # not for ever: our own pull may be over before the other one is
                if self.stop.wait(0.05):
                    raise Interrupted from None
        try:
            return os.path.samestat(os.fstat(fd), os.stat(path))
        except FileNotFoundError:
            return False


class _Download:
    """One file, from where it is to its end."""

    def __init__(self, downloads: Downloads, descriptor: dict, fd: int) -> None:
        self.registry, self.progress, self.stop = downloads.registry, downloads.progress, downloads.stop
        self.digest, self.size, self.fd = descriptor["digest"], descriptor["size"], fd
        self.hash = hashlib.sha256()
        self.have = 0

    def run(self) -> None:
        """Fetch what is missing. Errors: EngineError when it is not what its digest says; then nothing is kept."""
        self._digest_what_is_there()
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
                    raise Interrupted from None
        self.progress.update(self.digest, "Verifying Checksum")
        if f"sha256:{self.hash.hexdigest()}" != self.digest:
            os.ftruncate(self.fd, 0)
            raise EngineError(f"filesystem layer verification failed for digest {self.digest}")

    def _digest_what_is_there(self) -> None:
        if os.fstat(self.fd).st_size > self.size:
            os.ftruncate(self.fd, 0)
        while part := os.read(self.fd, CHUNK):
            self.hash.update(part)
            self.have += len(part)
        self.progress.transferred(self.digest, self.have, self.size)

    def _fetch(self) -> None:
        answer = self.registry.blob(self.digest, self.have)
        try:
            if not self._goes_on(answer):
                self._begin_again()
                if answer.status == 416:
                    return
            while part := answer.read1(CHUNK):  # what is there, and not a whole chunk: it may be the last
                if self.stop.is_set():
                    raise Interrupted
                if self.have + len(part) > self.size:
                    os.ftruncate(self.fd, 0)
                    raise EngineError(f"layer {self.digest} is larger than the manifest says ({self.size} bytes)")
                self.hash.update(part)
                self.have += len(part)
                while part:
                    part = part[os.write(self.fd, part) :]
                self.progress.transferred(self.digest, self.have, self.size)
        except BaseException:
            answer.close()  # the rest of it is of no use on a connection that serves again
            raise
        answer.release_conn()

    def _goes_on(self, answer: urllib3.BaseHTTPResponse) -> bool:
        """Whether an answer begins where our file ends."""
        if answer.status == 206:
            return (answer.headers.get("Content-Range") or "").startswith(f"bytes {self.have}-")
        return self.have == 0 and answer.status == 200

    def _begin_again(self) -> None:
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.hash, self.have = hashlib.sha256(), 0


class _disk:
    """What the disk refuses, as one line."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise KernelError(f"write {self.path}", error.errno or 0, hint=store.disk_hint(error)) from None
