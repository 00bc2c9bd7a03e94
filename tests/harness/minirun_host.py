"""A throw-away host with minirun in it: the program under test, its containers, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness.host import PATIENCE, ROOT, Host, cgroup_trees, wait_for


def command() -> list[str]:
    """The program under test: $MINIRUN, or the installed command beside this Python, or the checkout."""
    if os.environ.get("MINIRUN"):
        return shlex.split(os.environ["MINIRUN"])
    beside = Path(sys.executable).with_name("minirun")
    if beside.exists():
        return [str(beside)]
    return [sys.executable, "-IS", str(ROOT / "minirun" / "__main__.py")]


class Result:
    """What a command left: `.out`, `.err` (text), `.code`."""

    def __init__(self, done: subprocess.CompletedProcess) -> None:
        self.argv, self.code, self.out, self.err = done.args, done.returncode, done.stdout, done.stderr

    def __repr__(self) -> str:
        return f"exit {self.code}\nstdout: {self.out!r}\nstderr: {self.err!r}"


class Program:
    """minirun in one host: `minirun("ps", "-a")` gives a Result; `.ok(...)` wants success and gives its output."""

    def __init__(self, machine: MinirunHost) -> None:
        self.machine, self.words = machine, command()

    def __call__(self, *words: str, input: str | None = None, timeout: float = PATIENCE, **environment: str) -> Result:
        before = self.machine.environment
        self.machine.environment = {**before, **environment}
        try:
            return Result(self.machine.run(*self.words, *words, input=input, timeout=timeout))
        finally:
            self.machine.environment = before

    def ok(self, *words: str, **options: object) -> str:
        """Its output without the last newline; it must end with 0 and say nothing on standard error."""
        result = self(*words, **options)  # type: ignore[arg-type]
        assert (result.code, result.err) == (0, ""), f"minirun {' '.join(words)}: {result}"
        return result.out.removesuffix("\n")

    def act(self) -> None:
        """Make a container and remove it: a command that acts clears up what a kill -9 has left, one that asks does not."""
        self.ok("rm", self.ok("create", "alpine", "true"))

    def popen(self, *words: str, **options: object) -> subprocess.Popen:
        """Begin it, with pipes on standard output and error."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return self.machine.popen(*self.words, *words, **options)

    def raw(self, *words: str) -> bytes:
        """Its output as it is; it must end with 0 and say nothing on standard error."""
        process = self.popen(*words, text=False)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
        return out

    def begin(self, *words: str, name: str = "c1") -> Container:
        """Start a container with -d; it is found by name."""
        return Container(self, name, self.ok("run", "-d", "--name", name, *words))

    def sh(self, script: str, *options: str) -> str:
        """The output of a shell script in a new container."""
        return self.ok("run", "--rm", *options, "alpine", "sh", "-c", script)


class Container:
    """A container that a test has started: `.name`, `.id`; what the kernel says of it."""

    def __init__(self, minirun: Program, name: str, container_id: str) -> None:
        self.minirun, self.name, self.id = minirun, name, container_id

    @property
    def pid(self) -> int:
        """Its first process as this machine numbers it: the one in its cgroup that is pid 1 in its own namespace."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                if re.search(r"^NSpid:.*\t1$", status, re.M):
                    return pid
        return 0

    def pids(self) -> list[int]:
        """All processes in its cgroup."""
        pids: set[int] = set()
        for directory in self.cgroups():
            for procs in [directory / "cgroup.procs", *directory.rglob("cgroup.procs")]:
                with contextlib.suppress(OSError):
                    pids.update(map(int, procs.read_text().split()))
        return sorted(pids)

    def cgroups(self) -> list[Path]:
        """Its directory in every cgroup tree that has one."""
        name = f"{self.minirun.machine.name}/minirun/{self.id}"
        return [Path(mountpoint) / name for mountpoint, _, _ in cgroup_trees() if (Path(mountpoint) / name).is_dir()]

    def limit(self, v1: str, v2: str) -> str:
        """A limit, read from the kernel's file: the name that version 1 of cgroups has for it, or version 2."""
        for directory in self.cgroups():
            for file in (v1, v2):
                if file and (directory / file).exists() and ("." not in file or file in (v1, v2)):
                    return (directory / file).read_text().strip()
        raise AssertionError(f"neither {v1} nor {v2} in {self.cgroups()}")

    def running(self) -> bool:
        """Whether its first process is alive."""
        pid = self.pid
        return bool(pid) and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()

    def sh(self, script: str, *options: str) -> str:
        """The output of a shell script by `exec`."""
        return self.minirun.ok("exec", *options, self.name, "sh", "-c", script)

    def monitor(self) -> int:
        """Its monitor: the parent of its first process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^PPid:\t(\d+)", status, re.M)[1])  # type: ignore[index]


class MinirunHost(Host):
    """A throw-away host with minirun on it: a data root with the image on disk, an exec root in its own /run."""

    def __init__(self, directory: Path, store: Path) -> None:
        self.data = directory / f"data-{time.monotonic_ns()}"
        super().__init__(
            outside=True,
            environment={
                "MINIRUN_ROOT": str(self.data),
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
        )
        for word in ("MINIRUN_EXEC_ROOT", "XDG_RUNTIME_DIR"):
            self.environment.pop(word, None)
        self.data.mkdir(mode=0o710)
        # Hard links: what is in the store is replaced or removed, never written to.
        subprocess.run(["cp", "-al", store / "images", self.data / "images"], check=True)
        self.minirun = Program(self)
        self.spoiled = False  # a test that leaves a mess on purpose says so

    def __enter__(self) -> MinirunHost:
        super().__enter__()
        # As the first `ip netns add` of a machine leaves it: a shared mount, in which names of namespaces come and go.
        self.run(
            "sh",
            "-ec",
            "mkdir -m 755 /run/netns; mount --bind /run/netns /run/netns; mount --make-shared /run/netns",
            check=True,
        )
        self.run_directory = Path(f"/proc/{self.pid}/root/run")
        self.mounts_before = self.mounts()
        self.pids_before = self.pids()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.data, ignore_errors=True)

    # What the kernel says, read from outside: a look costs no process.

    def mounts(self) -> list[str]:
        """Its mount table, without the numbers."""
        lines = Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()
        return sorted(re.sub(r"^\d+ \d+ \S+ ", "", line) for line in lines)

    def links(self) -> list[str]:
        """Its network devices."""
        lines = Path(f"/proc/{self.pid}/net/dev").read_text().splitlines()[2:]
        return sorted(line.split(":")[0].strip() for line in lines)

    def cgroups(self) -> list[str]:
        """The containers' cgroups in every tree."""
        found = []
        for mountpoint, _, _ in cgroup_trees():
            top = Path(mountpoint) / self.name / "minirun"
            found += [str(path.relative_to(mountpoint)) for path in top.glob("*") if path.is_dir()]
        return sorted(found)

    def pids(self) -> dict[int, str]:
        """All processes in its cgroups, with their names."""
        found = {}
        for mountpoint, _, _ in cgroup_trees():
            for directory, _, _ in os.walk(Path(mountpoint) / self.name):  # which does not mind what goes meanwhile
                with contextlib.suppress(OSError):
                    for pid in map(int, (Path(directory) / "cgroup.procs").read_text().split()):
                        with contextlib.suppress(OSError):
                            found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
        return found

    def containers(self) -> list[str]:
        """The IDs in the data root."""
        return sorted(path.name for path in (self.data / "containers").glob("*") if len(path.name) == 64)

    def addresses(self) -> list[str]:
        """The addresses that are written down as taken."""
        return sorted(
            path.name
            for path in (self.run_directory / "minirun/networks").glob("*/*")
            if path.is_file() and re.fullmatch(r"\d+\.\d+\.\d+\.\d+|[0-9a-f:]*:[0-9a-f:]+", path.name)
        )

    def ports(self) -> list[str]:
        """The published ports that are written down: "0.0.0.0/tcp/8080"."""
        top = self.run_directory / "minirun/networks/ports"
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.name.isdigit())

    def networks(self) -> list[str]:
        """The IDs of the networks that a test has made."""
        return sorted(path.stem for path in (self.data / "networks").glob("*.json") if len(path.stem) == 64)

    def volumes(self) -> list[str]:
        """What is in the directory of the volumes, but for its lock."""
        return sorted(path.name for path in (self.data / "volumes").glob("*") if path.name != ".lock")

    def leaks(self) -> list[str]:
        """What is there and should not be; empty for a clean host without containers."""
        found = [f"link {name}" for name in self.links() if name not in ("lo", "wan0", "minirun0", "sit0", "tunl0")]
        found += [f"cgroup {path}" for path in self.cgroups()]
        found += [f"mount {line}" for line in self.mounts() if line not in self.mounts_before]
        found += [f"mount lost: {line}" for line in self.mounts_before if line not in self.mounts()]
        found += [f"process {pid} {name}" for pid, name in self.pids().items() if pid not in self.pids_before]
        found += [f"address {address}" for address in self.addresses()]
        found += [f"port {port}" for port in self.ports()]
        found += [f"network {name}" for name in self.networks()]
        found += [f"volume {name}" for name in self.volumes()]
        for place in ("minirun/containers", "minirun/runtime", "netns"):
            found += [f"/run/{place}/{path.name}" for path in (self.run_directory / place).glob("*")]
        for place in ("containers", "names"):
            found += [f"{place}/{path.name} in the data root" for path in (self.data / place).glob("*")]
        return found

    def assert_clean(self, seconds: float = PATIENCE / 4) -> None:
        """Nothing may be left. The kernel takes a network namespace and its cable down a moment after the end."""
        wait_for(lambda: not self.leaks(), seconds)
        assert self.leaks() == []

    def tidy_up(self) -> None:
        """Remove the test's containers, with the program itself."""
        if self.containers():
            result = self.minirun("rm", "-f", *self.containers())
            assert (result.code, result.err) == (0, ""), f"rm -f: {result}"
        if self.networks():
            result = self.minirun("network", "prune", "-f")
            assert (result.code, result.err) == (0, ""), f"network prune: {result}"
        if self.volumes():
            result = self.minirun("volume", "prune", "-f")
            assert (result.code, result.err) == (0, ""), f"volume prune: {result}"
