"""minirun beside runc and Docker: what a start, a list, an exec and a running container cost (`make bench`).

    PYTHONPATH=tests bench/run.py [--quick] [--minirun PATH] [--image NAME]

A number in milliseconds says little about a program on a machine that others use too. So rivals are measured in turn,
A B C A B C ..., and what counts is the ratio within each round; the table shows its median, and the medians of the
times. See bench/README.md for what is equal between the rivals and what is not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crowd
import images
import throughput
from rivals import SLEEP, SYSTEM_PATH, Docker, Minirun, Missing, Runc, milliseconds
from table import Table

from harness.host import Host

PAUSE = 0.1  # seconds between two commands
SECONDS = 420  # for all of it; a slow machine gets fewer rounds, not more time
MEMORY_AT = 10  # containers


class Bench:
    """One run of the bench, inside a throw-away host."""

    def __init__(self, words: argparse.Namespace, scratch: Path) -> None:
        self.table = Table()
        self.end = time.monotonic() + SECONDS
        self.quick, self.scratch = words.quick, scratch
        self.rounds, self.containers = (5, MEMORY_AT) if words.quick else (25, 50)
        archive = layer_archive(words.image)
        self.minirun = Minirun(words.minirun, scratch, archive)
        self.runc = self._perhaps(lambda: Runc(self.minirun, scratch))
        self.docker = self._perhaps(lambda: Docker(scratch, archive))

    def _perhaps(self, make: object) -> object:
        try:
            return make()  # type: ignore[operator]
        except Missing as reason:
            self.table.notes.append(f"left out, not on this machine: {reason}")
            return None

    def measure(self, only: str) -> None:
        """All measurements, or the part that is named `only`; in an order in which none needs another's clean-up."""
        for part in (self.starts, self.crowds, self.throughput, self.images):
            if only in ("", part.__name__):
                part()

    def starts(self) -> None:
        """One command after the other: what a person at a shell waits for."""
        self.compare_runs()
        self.fill()
        self.compare_lists()
        self.compare_execs()
        self.compare_removals()
        self.compare_published()

    def crowds(self) -> None:
        """Many starts at once, and a start when many run already."""
        if self.docker:
            crowd.compare_crowds(self.table, self.minirun, self.docker, 24 if self.quick else 100)
        crowd.compare_late_starts(self.table, self.minirun, 50 if self.quick else 300)

    def images(self) -> None:
        """How images come, and what it takes to know that they are here."""
        if self.docker:
            try:
                images.Images(self.table, (self.minirun, self.docker), self.scratch, self.quick, self.in_turn).compare()
            except Missing as reason:
                self.table.notes.append(f"left out, not on this machine: {reason}")

    def throughput(self) -> None:
        """What goes through the cables."""
        if self.docker:
            throughput.compare(self.table, self.minirun, self.docker, self.scratch, 1 if self.quick else 6)

    def compare_runs(self) -> None:
        """A whole `run --rm alpine true`, and a bare interpreter, with nothing else running."""
        run = ("run", "--rm", "alpine", "true")
        rivals = {
            "minirun": (self.minirun.words(*run), self.minirun.environment),
            "python": (["/usr/bin/python3", "-IS", "-c", "pass"], self.minirun.environment),
        }
        if self.runc:
            rivals["runc"] = (self.runc.run(), self.runc.environment)
        if self.docker:
            rivals["docker"] = (self.docker.words(*run), self.docker.environment)
        times = self.in_turn(rivals, share=0.15)
        if self.runc:
            self.table.add("run --rm alpine true / runc run", times["minirun"], times["runc"], goal=1.0)
        if self.docker:
            self.table.add("run --rm alpine true / docker run", times["minirun"], times["docker"], goal=0.12)
        self.table.add("run --rm alpine true / python3 -IS -c pass", times["minirun"], times["python"])

    def fill(self) -> None:
        """Start the containers, one of each rival in turn: the time of each start, the memory when there are ten."""
        ours, theirs = [], []
        for number in range(1, self.containers + 1):
            ours.append(milliseconds(self.minirun.start(), self.minirun.environment))
            if self.docker:
                theirs.append(milliseconds(self.docker.start(), self.docker.environment))
            if number == MEMORY_AT:
                self.compare_memory()
        if self.docker:
            self.table.add("run -d alpine sleep / docker run -d", ours, theirs)
        if self.containers > 2 * MEMORY_AT:
            first, last = slice(0, 5), slice(-5, None)
            where = f"{self.containers - 4}-{self.containers}"
            self.table.add(f"start no. {where} / no. 1-5", ours[last], ours[first])
            if self.docker:
                self.table.add(f"  the same with docker: no. {where} / no. 1-5", theirs[last], theirs[first])

    def compare_memory(self) -> None:
        """Memory for each running container."""
        self.minirun.wait_for_rest()
        theirs = self.docker.memory() if self.docker else []
        what = f"monitor's PSS at {MEMORY_AT} containers / containerd-shim's"
        self.table.add_limit(what, self.minirun.memory(), theirs, unit="MiB", goal=3)
        if self.docker:
            fixed = self.docker.fixed_memory()
            self.table.notes.append(f"dockerd and containerd need {fixed:.0f} MiB besides; minirun nothing.")

    def compare_lists(self) -> None:
        """`ps` with all containers running."""
        ours = {"minirun": (self.minirun.words("ps"), self.minirun.environment)}
        self._compare(f"ps, {self.containers} containers / docker ps", ours, ("ps",), goal=0.5)

    def compare_execs(self) -> None:
        """`exec CONTAINER true`."""
        ours = {"minirun": (self.minirun.words("exec", self.minirun.running()[0], "true"), self.minirun.environment)}
        theirs = ("exec", self.docker.running()[0], "true") if self.docker else ()
        self._compare("exec CONTAINER true / docker exec", ours, theirs)

    def _compare(self, what: str, rivals: dict, theirs: tuple[str, ...], goal: float = 0) -> None:
        if self.docker:
            rivals["docker"] = (self.docker.words(*theirs), self.docker.environment)
            times = self.in_turn(rivals, share=0.1)
            self.table.add(what, times["minirun"], times["docker"], goal=goal)

    def compare_removals(self) -> None:
        """`rm -f` of all containers at once; one measurement of each, since they are gone then."""
        if self.docker:
            ours = milliseconds(self.minirun.words("rm", "-f", *self.minirun.running()), self.minirun.environment)
            theirs = milliseconds(self.docker.words("rm", "-f", *self.docker.running()), self.docker.environment)
            self.table.add(f"rm -f of {self.containers} / docker rm -f", [ours], [theirs])

    def compare_published(self) -> None:
        """A start with a published port, and one without."""
        publish = self.minirun.words("run", "-d", "-p", "80", "alpine", *SLEEP)
        times = self.in_turn(
            {
                "published": (publish, self.minirun.environment),
                "plain": (self.minirun.start(), self.minirun.environment),
            },
            share=0.05,
        )
        self.table.add("run -d -p 80 alpine sleep / run -d alpine sleep", times["published"], times["plain"], goal=1.5)
        self.minirun.remove_all()

    def in_turn(self, rivals: dict[str, tuple[list[str], dict[str, str]]], share: float) -> dict[str, list[float]]:
        """Time each rival once in each round, after a round that does not count.

        What a command leaves to others when it has ended (the kernel takes a network namespace down, a daemon a
        container) is not charged to the next: there is a pause, and every second round goes the other way round.

        Arguments: rivals, name → (command line, environment); share, of the whole time that this may take.
        Returns: name → milliseconds, as many for each as there were rounds.
        """
        times: dict[str, list[float]] = {name: [] for name in rivals}
        enough = time.monotonic() + min(share * SECONDS, self.end - time.monotonic())
        for number in range(self.rounds + 1):
            for name, (argv, environment) in list(rivals.items())[:: -1 if number % 2 else 1]:
                time.sleep(PAUSE)
                took = milliseconds(argv, environment)
                if number:
                    times[name].append(took)
            if number >= 3 and time.monotonic() > enough:
                break
        return times

    def close(self) -> None:
        """End what was started. The throw-away host would take it all with it, but less gently."""
        self.minirun.close()
        if self.docker:
            self.docker.close()


def layer_archive(name: str) -> str:
    """The path of the tar that an image was imported from, in minirun's ordinary data root."""
    from minirun.engine.daemon import Daemon

    image = Daemon().images.find(name)
    if len(image.manifest["layers"]) != 1:
        raise RuntimeError(f"{name} has several layers; the bench wants an image with one")
    return image.layout.blob(image.manifest["layers"][0]["digest"])


def heading(bench: Bench) -> str:
    """When, where and what."""
    machine = os.uname()
    cgroups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    rivals = [rival.version for rival in (bench.minirun, bench.runc, bench.docker) if rival]
    where = (
        time.strftime("%Y-%m-%d %H:%M"),
        f"Linux {machine.release}",
        f"{os.cpu_count()} processors",
        f"cgroup {cgroups}",
        f"load {os.getloadavg()[0]:.1f}",
    )
    return f"{', '.join(where)}\n{'; '.join(rivals)}\n\n"


def inside(words: argparse.Namespace) -> int:
    """The part that runs in the throw-away host."""
    bench = Bench(words, Path(words.scratch))
    try:
        head = heading(bench)
        bench.measure(words.only)
    finally:
        bench.close()
    text = head + bench.table.text()
    print(text, end="")
    (Path(__file__).resolve().parent / f"results-{time.strftime('%Y-%m-%d')}.txt").write_text(text)
    return 0


def main() -> int:
    """Make the throw-away host, measure in it, and see that nothing is left."""
    parser = argparse.ArgumentParser(description="minirun beside runc and Docker")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and containers")
    parser.add_argument(
        "--only", default="", choices=("starts", "crowds", "throughput", "images"), help="one part of it"
    )
    parser.add_argument(
        "--minirun",
        default=str(Path(sys.executable).with_name("minirun")),
        help="the launcher to measure (default: the one beside this Python)",
    )
    parser.add_argument("--image", default="alpine", help="an image with one layer (default: alpine)")
    parser.add_argument("--scratch", help=argparse.SUPPRESS)  # set: we are inside
    words = parser.parse_args()
    if words.scratch:
        return inside(words)
    if os.geteuid() != 0:
        parser.error("containers need root")
    if not shutil.which(words.minirun):
        parser.error(f"{words.minirun}: not found; give the installed launcher with --minirun PATH")
    scratch = tempfile.mkdtemp(prefix="minirun-bench-", dir="/var/tmp")  # not /tmp, which may be in memory
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with Host(outside=True, environment={"PATH": f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"}) as host:
            bench = host.popen(sys.executable, *sys.argv, "--scratch", scratch)
            try:
                return bench.wait(2 * SECONDS)
            except subprocess.TimeoutExpired:
                print("the bench hangs; it is ended", file=sys.stderr)
                return 1
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
