"""minirun beside runc and Docker: what a start, a list, an exec and a running container cost (`make bench`).

    bench/run.py [--quick] [--minirun PATH] [--image NAME]

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

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from rivals import SYSTEM_PATH, Docker, Minirun, Missing, Runc  # noqa: E402
from table import Table  # noqa: E402
from throwaway import Host  # noqa: E402

SECONDS = 170  # for all of it; a slow machine gets fewer rounds, not more time
MEMORY_AT = 10  # containers


class Bench:
    """One run of the bench, inside a throw-away host."""

    def __init__(self, words: argparse.Namespace, scratch: Path) -> None:
        self.table = Table()
        self.end = time.monotonic() + SECONDS
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

    def measure(self) -> None:
        """All measurements, in an order in which none needs the clean-up of another."""
        self.compare_runs()
        self.fill()
        self.compare_lists()
        self.compare_execs()
        self.compare_removals()

    def compare_runs(self) -> None:
        """A whole `run --rm alpine true`, and a bare interpreter, with nothing else running."""
        run = ("run", "--rm", "alpine", "true")
        rivals = {"minirun": (self.minirun.words(*run), self.minirun.environment),
                  "python": (["/usr/bin/python3", "-IS", "-c", "pass"], self.minirun.environment)}
        if self.runc:
            rivals["runc"] = (self.runc.run(), self.runc.environment)
        if self.docker:
            rivals["docker"] = (self.docker.words(*run), self.docker.environment)
        times = self.in_turn(rivals, share=0.25)
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
            times = self.in_turn(rivals, share=0.15)
            self.table.add(what, times["minirun"], times["docker"], goal=goal)

    def compare_removals(self) -> None:
        """`rm -f` of all containers at once; one measurement of each, since they are gone then."""
        if self.docker:
            ours = milliseconds(self.minirun.words("rm", "-f", *self.minirun.running()), self.minirun.environment)
            theirs = milliseconds(self.docker.words("rm", "-f", *self.docker.running()), self.docker.environment)
            self.table.add(f"rm -f of {self.containers} / docker rm -f", [ours], [theirs])

    def in_turn(self, rivals: dict[str, tuple[list[str], dict[str, str]]], share: float) -> dict[str, list[float]]:
        """Time each rival once in each round, after a round that does not count.

        Arguments: rivals, name → (command line, environment); share, of the whole time that this may take.
        Returns: name → milliseconds, as many for each as there were rounds.
        """
        times: dict[str, list[float]] = {name: [] for name in rivals}
        enough = time.monotonic() + min(share * SECONDS, self.end - time.monotonic())
        for number in range(self.rounds + 1):
            for name, (argv, environment) in rivals.items():
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


def milliseconds(argv: list[str], environment: dict[str, str]) -> float:
    """Run a command and say how long that took, from the fork to the end of the wait.

    Errors: RuntimeError when it fails: the time of a failure is no measurement.
    """
    with tempfile.TemporaryFile() as output:
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                   (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        begun = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took = (time.perf_counter() - begun) * 1000
        if code:
            output.seek(0)
            complaint = output.read().decode(errors="replace")[-500:]
            raise RuntimeError(f"{' '.join(argv[:4])}: exit code {code}: {complaint}")
        return took


def layer_archive(name: str) -> str:
    """The path of the tar that an image was imported from, in minirun's ordinary data root."""
    from minirun.engine import places
    from minirun.image.store import Images

    places.settle()
    image = Images(f"{places.data}/images").find(name)
    if len(image.manifest["layers"]) != 1:
        raise RuntimeError(f"{name} has several layers; the bench wants an image with one")
    return image.layout.blob(image.manifest["layers"][0]["digest"])


def heading(bench: Bench) -> str:
    """When, where and what."""
    machine = os.uname()
    cgroups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    rivals = [rival.version for rival in (bench.minirun, bench.runc, bench.docker) if rival]
    where = (time.strftime("%Y-%m-%d %H:%M"), f"Linux {machine.release}", f"{os.cpu_count()} processors",
             f"cgroup {cgroups}", f"load {os.getloadavg()[0]:.1f}")
    return f"{', '.join(where)}\n{'; '.join(rivals)}\n\n"


def inside(words: argparse.Namespace) -> int:
    """The part that runs in the throw-away host."""
    bench = Bench(words, Path(words.scratch))
    try:
        head = heading(bench)
        bench.measure()
    finally:
        bench.close()
    text = head + bench.table.text()
    print(text, end="")
    (HERE / f"results-{time.strftime('%Y-%m-%d')}.txt").write_text(text)
    return 0


def main() -> int:
    """Make the throw-away host, measure in it, and see that nothing is left."""
    parser = argparse.ArgumentParser(description="minirun beside runc and Docker")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and 10 containers instead of 50")
    parser.add_argument("--minirun", default=str(Path(sys.executable).with_name("minirun")),
                        help="the launcher to measure (default: the one beside this Python)")
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
        with Host(environment={"PATH": f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"}) as host:
            bench = host.popen(sys.executable, *sys.argv, "--scratch", scratch)
            try:
                return bench.wait(SECONDS + 60)
            except subprocess.TimeoutExpired:
                print("the bench hangs; it is ended", file=sys.stderr)
                return 1
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
