"""How much goes through: iperf3 from container to container, to the host, and from the outside to a published port.

The packets' way is the kernel's in both engines: veth, bridge, iptables. So the ratio should be 1; less would say that
a rule too many is walked, that a queue is in the way, or that a userland proxy copies what the kernel could forward.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from rivals import Docker, Minirun, checked
from table import Table

IPERF = "/usr/bin/iperf3"
PUBLISHED = {"minirun": 5301, "docker": 5302}
#: Sender and receiver each have a processor; with one for both, UDP would measure whose turn it is.
APART = ("--affinity", "0,1") if len(os.sched_getaffinity(0)) > 1 else ()
PROTOCOLS = {"TCP": APART, "UDP": ("--udp", "--bitrate", "0", *APART)}
SECONDS = 1  # of one measurement


def make_image(path: Path) -> Path:
    """Write an image with Debian's iperf3, the libraries it is linked with and nothing else, as a tar."""
    with tarfile.open(path, "w") as tar:
        for word in ("tmp", "etc"):
            directory = tarfile.TarInfo(word)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(directory)
        linked = subprocess.run(["ldd", IPERF], capture_output=True, text=True, check=True).stdout.split()
        for file in [IPERF, *(word for word in linked if word.startswith("/"))]:
            tar.add(os.path.realpath(file), file)
    return path


class Net:
    """One engine's containers for this: a server, whose port is published, and a client.

    Arguments: rival; port (int), by which the outside reaches the server; archive (Path), the image.
    """

    NAMES = ("iperf-server", "iperf-client")

    def __init__(self, rival: Minirun | Docker, port: int, archive: Path) -> None:
        self.rival, self.port = rival, port
        self._do("import", str(archive), "iperf3")
        publish = [word for protocol in ("tcp", "udp") for word in ("-p", f"{port}:5201/{protocol}")]
        self._do("run", "-d", "--name", self.NAMES[0], *publish, "iperf3", IPERF, "-s")
        self._do("run", "-d", "--name", self.NAMES[1], "iperf3", IPERF, "-s")  # a server too: it stays

    def _do(self, *words: str) -> str:
        return checked(self.rival.words(*words), self.rival.environment).strip()

    def _of(self, name: str, field: str) -> str:
        return self._do("inspect", "-f", f"{{{{.NetworkSettings.{field}}}}}", name)

    def ways(self, outside: list[str]) -> dict[str, tuple[list[str], str, int]]:
        """Name of a way → command that leads to where the client is, address and port of the server."""
        inside = self.rival.words("exec", self.NAMES[1])
        return {
            "container → container": (inside, self._of(self.NAMES[0], "IPAddress"), 5201),
            "container → host": (inside, self._of(self.NAMES[1], "Gateway"), 5201),
            "outside → published port": (outside, "203.0.113.1", self.port),
        }

    def close(self) -> None:
        """Remove the containers."""
        self._do("rm", "-f", *self.NAMES)


def gigabits(argv: list[str], environment: dict[str, str]) -> float:
    """Run an iperf3 client. Returns: Gbit/s that have arrived."""
    report = json.loads(checked([*argv, "--json", "--time", str(SECONDS)], environment))
    return report["end"]["sum_received"]["bits_per_second"] / 1e9


def compare(table: Table, minirun: Minirun, docker: Docker, scratch: Path, rounds: int) -> None:
    """Add a line for each way and protocol, measured in turn, one client at a time.

    Arguments: scratch, where the image is made; rounds (int), how often each is measured.
    """
    if not os.path.exists(IPERF):
        table.notes.append("left out, not on this machine: iperf3: apt-get install iperf3")
        return
    archive = make_image(scratch / "iperf3.tar")
    outside = ["nsenter", f"--net=/proc/{Path('/run/outside.pid').read_text()}/ns/net"]
    host = subprocess.Popen([IPERF, "-s"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    nets = [Net(rival, PUBLISHED[name], archive) for name, rival in (("minirun", minirun), ("docker", docker))]
    try:
        for what, ours, theirs in _measured(nets, outside, rounds):
            table.add_rate(what, ours, theirs, unit="Gbit/s", goal=0.95)
    finally:
        for net in nets:
            net.close()
        host.terminate()
        host.wait()


def _measured(nets: list[Net], outside: list[str], rounds: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """(what, our rates, the rival's) for each way and protocol."""
    ways = [net.ways(outside) for net in nets]
    for way in ways[0]:
        for protocol, options in PROTOCOLS.items():
            rates: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds):
                for which in ((0, 1), (1, 0))[number % 2]:  # whoever is second finds the processor warm
                    lead, address, port = ways[which][way]
                    argv = [*lead, IPERF, "--client", address, "--port", str(port), *options]
                    rates[which].append(gigabits(argv, nets[which].rival.environment))
            yield f"iperf3 {way}, {protocol}", *rates
