"""Pseudo-terminals (pty(7), ioctl_tty(2)): a pair of master and slave, window size, raw mode."""

from __future__ import annotations

import fcntl

from minirun.light import os, struct

_TIOCSPTLCK = 0x40045431  # unlock the pair
_TIOCGPTN = 0x80045430  # which number has it?
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414  # the window's size: get, set


def open_pair(devpts: str) -> tuple[int, str]:
    """Open a new pseudo-terminal of the devpts instance that is mounted at `devpts` (str).

    Returns: the master's descriptor (int) and the path of the slave (str).
    """
    # The instance's own ptmx, not /dev/ptmx: each devpts mount has its own numbers, and a container must not see the
    # host's terminals. O_NOCTTY, or the master could become the controlling terminal of the caller's session.
    master = os.open(f"{devpts}/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    # A new slave is locked, so that grantpt(3) could set its owner first; there is no window here to be closed.
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("i", 0)))[0]
    return master, f"{devpts}/{number}"


def set_controlling_terminal(path: str) -> None:
    """Make the terminal at `path` standard input, output and error, and the controlling terminal of this session.

    The caller leads the session and has no controlling terminal yet (setsid(2)).
    """
    from minirun.kernel import syscalls  # the shim, which only copies bytes, need not load it

    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(fd, standard, inheritable=True)
    os.close(fd)
    syscalls.set_controlling_terminal(0)


def size(fd: int) -> tuple[int, int]:
    """The window size of a terminal: rows, columns. Errors: OSError when `fd` is no terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8)))
    return rows, columns


def pack_size(rows: int, columns: int) -> bytes:
    """A window size as four bytes, for the attach protocol."""
    return struct.pack("HH", rows, columns)


def unpack_size(data: bytes) -> tuple[int, int]:
    """Rows and columns of what `pack_size` has packed."""
    rows, columns = struct.unpack("HH", data)
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window size; the kernel sends SIGWINCH to the foreground process group."""
    fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class raw:
    """Put a terminal into raw mode for a while, and restore it after: `with raw(fd): ...` (cfmakeraw(3)).

    In raw mode every key, Ctrl-C too, is passed on to the container's terminal, which gives it its meaning.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.before: list = []

    def __enter__(self) -> None:
        import termios  # needed only with a terminal

        self.before = termios.tcgetattr(self.fd)
        mode = termios.tcgetattr(self.fd)
        mode[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(
            self.fd, termios.TCSADRAIN, mode
        )  # DRAIN: what was written before still appears as it was meant

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(self.fd, termios.TCSADRAIN, self.before)
