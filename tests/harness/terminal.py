"""A command of a throw-away host in a real pseudo terminal (pty(7)), and what a user does there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness.host import PATIENCE


class TerminalSession:
    """A pty with a command in it: type, read, change the window's size."""

    def __init__(self, minirun, words, rows=30, columns=100, before=()):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns, tell=False)
        self.settings = termios.tcgetattr(self.slave)
        self.seen = ""
        slave = self.slave

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        command = [*before, *minirun.words, *words]
        host = minirun.machine
        self.process = subprocess.Popen(
            host.command(*command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=host.environment,
            preexec_fn=lambda: (host._join(), take_terminal()),
            close_fds=True,
        )

    def type(self, text):
        """Send what is typed."""
        os.write(self.master, text.encode())

    def read(self):
        """Take what has come. A line editor's question where the cursor stands is no output; nobody answers it here."""
        self.seen = (self.seen + os.read(self.master, 65536).decode("utf-8", "replace")).replace("\x1b[6n", "")

    def read_until(self, pattern, seconds=PATIENCE):
        """Read until the pattern is there; what was read since the last time."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not come: {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.read()
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def rest(self):
        """Read until nothing has come for a moment; all that was read."""
        while select.select([self.master], [], [], 0.1)[0]:
            self.read()
        text, self.seen = self.seen, ""
        return text

    def begin_to_sleep(self, then=""):
        """Type a command that sleeps, at the shell's prompt, and wait until it is there."""
        self.type(f"sh -c 'echo begun; exec sleep 100'{then}\r")
        self.read_until("begun\r\n")

    def resize(self, rows, columns, *, tell=True):
        """Change the window's size; `tell`: with the SIGWINCH that a terminal sends."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            os.kill(self.process.pid, signal.SIGWINCH)

    def wait(self, seconds=PATIENCE):
        """The exit code of the command."""
        return self.process.wait(timeout=seconds)

    def restored(self):
        """Whether the terminal's settings are those of the beginning."""
        return termios.tcgetattr(self.slave) == self.settings

    def close(self):
        """End the command, and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
