"""The standard streams of a container's process: its ends of some pipes or of a terminal, and ours."""

from __future__ import annotations

import posix as os  # os without its Python half: 250 KiB less in a monitor at rest


class Ends:
    """Our ends of the process's standard streams; -1 where there is none.

    `.stdin` to write to, `.stdout` and `.stderr` to read from; with a terminal `.master` is all three. `.given` are the
    three descriptors for the process (None with a terminal), `.console` the socket on which it will send the master.
    """

    def __init__(self, *, terminal: bool, stdin: bool) -> None:
        self.stdin = self.stdout = self.stderr = self.master = self.console = -1
        self.given: tuple[int, int, int] | None = None
        if terminal:
            import _socket

            self._waiting, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            self.console = theirs.detach()
            return
        if stdin:
            input_given, self.stdin = os.pipe2(os.O_CLOEXEC)
        else:
            input_given = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.stdout, output_given = os.pipe2(os.O_CLOEXEC)
        self.stderr, error_given = os.pipe2(os.O_CLOEXEC)
        self.given = (input_given, output_given, error_given)

    def settle(self, *, stdin: bool) -> None:
        """To be called once the process has its ends: close our copies of them, fetch the terminal's master."""
        if self.given:
            for fd in self.given:
                os.close(fd)
        else:
            os.close(self.console)
            _, ancillary, _, _ = self._waiting.recvmsg(16, 64)
            self.master = int.from_bytes(ancillary[0][2][:4], "little")
            self._waiting.close()
            os.set_inheritable(self.master, False)
            self.stdout = self.master
            self.stdin = self.master if stdin else -1
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)

    @classmethod
    def taken_over(cls, stdin: int, stdout: int, stderr: int, master: int) -> Ends:
        """Our ends, as this process has them open already."""
        ends = cls.__new__(cls)
        ends.given, ends.console = None, -1
        ends.stdin, ends.stdout, ends.stderr, ends.master = stdin, stdout, stderr, master
        return ends
