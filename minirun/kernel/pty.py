"""Terminals: a pseudo-terminal is a pipe with the manners of a teletype (pty(7), ioctl_tty(2))."""

from __future__ import annotations

import fcntl
import os

from minirun.light import struct

_TIOCSPTLCK = 0x40045431  # unlock the pair
_TIOCGPTN = 0x80045430  # which number has it?
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414  # the window's size: get, set


def open_pair(devpts: str) -> tuple[int, str]:
    """Open a new pseudo-terminal of the devpts mounted at `devpts`: the container's own, which knows no other's.

    Returns: the master's descriptor and the path of the slave.
    """
    master = os.open(f"{devpts}/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("i", 0)))[0]
    return master, f"{devpts}/{number}"


def become_controlled_by(path: str) -> None:
    """Make the terminal at `path` standard input, output, error and the controlling terminal of this new session."""
    from minirun.kernel import syscalls  # who sits at the other end need not load it

    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(fd, standard, inheritable=True)
    os.close(fd)
    syscalls.set_controlling_terminal(0)


def size(fd: int) -> tuple[int, int]:
    """The window's rows and columns. Errors: OSError when `fd` is no terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8)))
    return rows, columns


def pack_size(rows: int, columns: int) -> bytes:
    """A window's size as four bytes."""
    return struct.pack("HH", rows, columns)


def unpack_size(data: bytes) -> tuple[int, int]:
    """Rows and columns, of what `pack_size` made."""
    rows, columns = struct.unpack("HH", data)
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window's size; the kernel sends SIGWINCH to whoever is in front of it."""
    fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class raw:
    """Have a terminal in raw mode for a while: `with raw(fd): ...`; it is given back as it was, whatever happens.

    Raw means that every key, also Ctrl-C, goes to the container's side, whose own terminal gives it its meaning.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.before: list = []

    def __enter__(self) -> None:
        import termios  # only who sits at a terminal needs it

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
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(self.fd, termios.TCSADRAIN, self.before)
