"""A page of docs/ whose commands can be run: what stands below each of them is what it prints.

In a block of the kind ```console, `1# COMMAND` is run in a shell, and the lines below it are its output. `2# COMMAND`
is a tcpdump that watches meanwhile, in another terminal: it begins at once and has ended, by its -c, with the block.
"""

from __future__ import annotations

import re
import subprocess
import tempfile

from harness.host import Host, wait_for

#: What tcpdump says of itself.
OWN_WORDS = re.compile(r"tcpdump: |listening on |\d+ packets? (captured|received by filter|dropped by kernel)$")


class Shell:
    """A bash in a throw-away host."""

    def __init__(self, host: Host) -> None:
        self.process = host.popen("bash", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, command: str) -> str:
        """What a command prints, errors too, without white space at the ends of lines."""
        self.process.stdin.write(f"{command}\nprintf '\\1\\n'\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        lines = []
        for line in self.process.stdout:  # type: ignore[union-attr]
            text, end, _ = line.partition("\1")
            lines.append(text.rstrip())
            if end:
                return "\n".join(lines).strip("\n")
        raise RuntimeError(f"the shell ended at: {command}")

    def close(self) -> None:
        """End it."""
        self.process.communicate("exit\n", timeout=10)


class Watcher:
    """A tcpdump in the background."""

    def __init__(self, shell: Shell, command: str) -> None:
        self.command = command
        self.file = tempfile.NamedTemporaryFile()
        self.pid = int(shell.run(f"{command} >{self.file.name} 2>&1 & echo $!"))
        self.shell = shell
        assert wait_for(lambda: "listening on" in self.text()), f"{command}: {self.text()}"

    def text(self) -> str:
        """What it has printed until now."""
        self.file.seek(0)
        return self.file.read().decode()

    def finish(self) -> str:
        """The packets, when it has seen as many as its -c says."""
        if not wait_for(lambda: "captured" in self.text()):
            self.shell.run(f"kill {self.pid}")
            raise AssertionError(f"{self.command} waits for more packets: {self.text()}")
        return "\n".join(line for line in self.text().splitlines() if line and not OWN_WORDS.match(line))


def run_again(page: str, host: Host) -> str:
    """The page (Markdown text), with the output of its commands as it is in this host."""
    shell = Shell(host)
    try:
        return re.sub(
            r"(?<=^```console\n).*?(?=^```$)", lambda block: _run_block(block[0], shell), page, flags=re.S | re.M
        )
    finally:
        shell.close()


def _run_block(block: str, shell: Shell) -> str:
    done: list[tuple[str, str | Watcher]] = []
    for line in block.splitlines():
        terminal, _, command = line.partition("# ")
        if terminal == "1":
            done.append((line, shell.run(command)))
        elif terminal == "2":
            done.append((line, Watcher(shell, command)))
    parts = []
    for line, output in done:
        parts += [line, output.finish() if isinstance(output, Watcher) else output]
    return "".join(f"{part}\n" for part in parts if part)


#: What differs from run to run, and what stands for it.
CHANGING = [
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"^[0-9a-f]{12}$", "SHORT-ID"),
    (r"(\"size\":|\bsize: )\d+", r"\1SIZE"),  # a digest that has no zero byte compresses to another length
    (r"\bveth[0-9a-f]{7}\b", "VETH"),
    (r"\b8000\.[0-9a-f]{12}\b", "BRIDGE-ID"),
    (r"\b(?!ff:ff|02:42:ac:11)(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"\bfe80::[0-9a-f:]+", "LINK-LOCAL"),
    (r"\b\d\d:\d\d:\d\d\.\d{6}\b", "TIME"),
    (r"\b\d+(\.\d+)? ?ms\b", "MS"),
    (r"= [\d./]+ ms", "= MS"),
    (r"\bid[ =]\d+", "id N"),
    (r"\(id: \d+\)", "(id: N)"),
    (r"^(\w+ +\d+) \d+ ", r"\1 SECONDS "),  # conntrack: how long it will remember
    (r"\b(REACHABLE|DELAY|STALE|PROBE)\b", "KNOWN"),
    (r"rtt min.*", "RTT"),
    (r" +", " "),
]


def shape(text: str) -> str:
    """A page or an output without what differs from run to run."""
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text, flags=re.M)
    return text
