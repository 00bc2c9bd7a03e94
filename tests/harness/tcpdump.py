"""tcpdump for tests: what is really on a link while something happens.

with Tcpdump(host, "minirun0", "icmp") as seen:
    container.sh("ping -c 1 172.17.0.3")
    assert "172.17.0.2 > 172.17.0.3: ICMP echo request" in seen.text(2)
"""

from __future__ import annotations

import signal
import subprocess
import tempfile

from harness.host import Host, wait_for


class Tcpdump:
    """Packets on a link, a line for each, from the moment at which `with` is entered.

    Arguments: host; link, its name; words, options and the filter (pcap-filter(7)); inside (tuple of str), the command
    that leads to where the link is, such as ("ip", "netns", "exec", "RED"); none for the host itself.
    """

    def __init__(self, host: Host, link: str, *words: str, inside: tuple[str, ...] = ()) -> None:
        self.host, self.argv = host, [*inside, "tcpdump", "--immediate-mode", "-lnei", link, *words]

    def __enter__(self) -> Tcpdump:
        self.file = tempfile.TemporaryFile()
        self.process = self.host.popen(*self.argv, stdout=self.file, stderr=subprocess.PIPE)
        head = []
        for line in self.process.stderr:  # type: ignore[union-attr]
            head.append(line)
            if line.startswith("listening on"):
                return self
        self.process.wait()
        raise RuntimeError(f"{' '.join(self.argv)}: {''.join(head)}")

    def lines(self) -> list[str]:
        """What was seen until now."""
        self.file.seek(0)
        return self.file.read().decode().splitlines()

    def text(self, packets: int) -> str:
        """All lines, as soon as there are so many (int), or when a moment has passed without them."""
        wait_for(lambda: len(self.lines()) >= packets)
        return "\n".join(self.lines())

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        self.process.stderr.close()  # type: ignore[union-attr]
        self.file.close()
