"""The standard streams of a container's process: pipes or a pseudo-terminal, seen from the shim (pipe(7), pty(7))."""

from __future__ import annotations

from minirun.light import os


class Stdio:
    """The shim's ends of the streams as descriptors, -1 where there is none, and what the process gets.

    `.stdin` to write to, `.stdout` and `.stderr` to read from; with a terminal `.master` is all three of them.
    `.child_fds` are the process's three descriptors (None with a terminal), `.console_socket` is the socket on which it
    sends the terminal's master (runc's --console-socket).

    Arguments: terminal (bool), make a pseudo-terminal; stdin (bool), keep standard input open, else it is /dev/null.
    """

    def __init__(self, *, terminal: bool, stdin: bool) -> None:
        self.stdin = self.stdout = self.stderr = self.master = self.console_socket = -1
        self.child_fds: tuple[int, int, int] | None = None
        if terminal:
            import _socket

            self._receiver, sender = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            self.console_socket = sender.detach()
            return
        if stdin:
            child_stdin, self.stdin = os.pipe2(os.O_CLOEXEC)
        else:
            child_stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.stdout, child_stdout = os.pipe2(os.O_CLOEXEC)
        self.stderr, child_stderr = os.pipe2(os.O_CLOEXEC)
        self.child_fds = (child_stdin, child_stdout, child_stderr)

    def after_start(self, *, stdin: bool) -> None:
        """Close the process's ends, now that it has them, or receive the terminal's master from it (SCM_RIGHTS).

        Arguments: stdin (bool), whether input to the terminal is wanted.
        """
        if self.child_fds:
            for fd in self.child_fds:
                os.close(fd)
        else:
            os.close(self.console_socket)
            _, ancillary, _, _ = self._receiver.recvmsg(16, 64)
            self.master = int.from_bytes(ancillary[0][2][:4], "little")
            self._receiver.close()
            os.set_inheritable(self.master, False)
            self.stdout = self.master
            self.stdin = self.master if stdin else -1
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)

    @classmethod
    def from_fds(cls, stdin: int, stdout: int, stderr: int, master: int) -> Stdio:
        """The streams of a process that runs already, from inherited descriptors."""
        stdio = cls.__new__(cls)
        stdio.child_fds, stdio.console_socket = None, -1
        stdio.stdin, stdio.stdout, stdio.stderr, stdio.master = stdin, stdout, stderr, master
        return stdio
