"""A throw-away host: network, mount, UTS and cgroup namespaces of its own, for tests and the bench.

    python3 tests/harness/host.py [--outside] -- COMMAND...      run one command in a new one, by hand
    with Host() as host: host.run("minirun", "ps")            the same from a test

Nothing of it outlives it: links, rules and mounts go with the namespaces, and the cgroup below which it lives is
emptied and removed. It has its own /run, so that /run/netns and /run/minirun are its own, and its own /sys, which
shows the links of its own network namespace.

With an outside: a second network namespace, joined by a veth pair, `wan0` here (203.0.113.1) and `out0` there
(203.0.113.2, and 198.51.100.1 as an address behind it): documentation addresses, no packet goes anywhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds to wait for what takes some milliseconds: the machine may be emulated, or have much else to do.
PATIENCE = 60

#: A TCP server that tells each client the address under which it sees him.
SERVER = """
import socket
server = socket.create_server(("", 9000))
print("ready", flush=True)
while True:
    connection, address = server.accept()
    connection.sendall(address[0].encode())
    connection.close()
"""

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x02000000, 0x04000000, 0x40000000
ROOT = Path(__file__).resolve().parents[2]


def wait_for(what: Callable[[], object], seconds: float = PATIENCE, *, interval: float = 0.01) -> object:
    """Look again and again until `what` gives something true; what it gave last."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(interval)
    return found


def _unshare(flags: int) -> None:
    if LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _sh(script: str) -> None:
    subprocess.run(["sh", "-euc", script], check=True)


def cgroup_trees() -> list[tuple[str, str, str]]:
    """(mount point, "cgroup" or "cgroup2", controllers) of every cgroup tree."""
    trees = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _, options = right.split()
        if kind in ("cgroup", "cgroup2"):
            words = [
                w for w in options.split(",") if w not in ("rw", "ro", "xattr") and not w.startswith("release_agent")
            ]
            trees[left.split()[4]] = (left.split()[4], kind, ",".join(words) if kind == "cgroup" else "")
    return list(trees.values())


def _enter_cgroup(name: str) -> None:
    """Go into a cgroup `name` of every tree; on a v2 tree with its controllers on, as deep as they can be."""
    for mountpoint, kind, _ in cgroup_trees():
        directory = Path(mountpoint) / name
        directory.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if kind == "cgroup" and (directory / file).exists():
                (directory / file).write_text((Path(mountpoint) / file).read_text())
        if kind == "cgroup2":
            for controller in (Path(mountpoint) / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):  # one that the host does not hand out
                    (Path(mountpoint) / "cgroup.subtree_control").write_text(f"+{controller}")
        (directory / "cgroup.procs").write_text("0")


def remove_cgroup(name: str) -> None:
    """End what is left in a throw-away host's cgroups, and remove them."""
    for mountpoint, _, _ in cgroup_trees():
        top = Path(mountpoint) / name
        if not top.is_dir():
            continue
        deadline = time.monotonic() + 10
        directories = [Path(where) for where, _, _ in os.walk(top, topdown=False)]
        for directory in directories:
            while directory.is_dir() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):  # whose it is may take it away at the same moment
                    for pid in (directory / "cgroup.procs").read_text().split():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)
                try:
                    directory.rmdir()
                except OSError:
                    time.sleep(0.02)


def become_host(name: str, outside: bool) -> None:
    """Turn this process into a throw-away host."""
    trees = cgroup_trees()
    _enter_cgroup(name)
    _unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP)
    v2_only = all(kind == "cgroup2" for _, kind, _ in trees)
    script = [
        f"mount --make-rslave /; hostname {name[:60]}; mount -t sysfs sysfs /sys; "
        "mount -t tmpfs tmpfs /run; ip link set lo up; "
        # A new network namespace takes these over from the machine; a machine that nobody used has them off.
        "echo 0 > /proc/sys/net/ipv4/ip_forward"
    ]
    if v2_only:
        script.append(
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup; mkdir /sys/fs/cgroup/host; "
            "echo $$ > /sys/fs/cgroup/host/cgroup.procs"
        )
    else:
        script.append("mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup")
        for mountpoint, kind, controllers in trees:
            options = f"-o {controllers}" if controllers else ""
            script.append(f"mkdir -p {mountpoint}; mount -t {kind} {options} {kind} {mountpoint}")
    _sh("; ".join(script))
    if v2_only:
        Path("/sys/fs/cgroup/host/cgroup.procs").write_text("0")
    if outside:
        make_outside()


def make_outside() -> None:
    """The outside world: another network namespace, held by a sleeping process whose pid is in /run/outside.pid."""
    pid = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdout=subprocess.DEVNULL).pid
    Path("/run/outside.pid").write_text(str(pid))
    while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.005)
    inside = f"nsenter --net=/proc/{pid}/ns/net"
    _sh(f"""
        ip link add wan0 address 02:00:cb:00:71:01 type veth peer name out0 address 02:00:cb:00:71:02
        ip link set out0 netns {pid}
        ip addr add 203.0.113.1/24 dev wan0; ip link set wan0 up
        {inside} ip addr add 203.0.113.2/24 dev out0; {inside} ip link set out0 up; {inside} ip link set lo up
        {inside} ip addr add 198.51.100.1/32 dev lo; ip route add default via 203.0.113.2
    """)


class Host:
    """A throw-away host whose first process waits for commands; `with Host() as host: host.run(...)`.

    Arguments: outside (bool), with the outside world; environment, added to that of every command.
    """

    def __init__(self, *, outside: bool = False, environment: dict[str, str] | None = None) -> None:
        self.name = f"minirun-test-{os.getpid()}-{time.monotonic_ns() % 1_000_000_000}"
        self.outside = outside
        self.environment = dict(os.environ, **(environment or {}))

    def __enter__(self) -> Host:
        ready, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.setsid()
                become_host(self.name, self.outside)
                os.write(tell, b"!")
                signal.pause()
            except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
                print(f"no throw-away host: {error!r}", file=sys.stderr)
            finally:
                os._exit(status)
        os.close(tell)
        if os.read(ready, 1) != b"!":
            self.__exit__()
            raise RuntimeError("the throw-away host could not be made")
        os.close(ready)
        return self

    def __exit__(self, *_: object) -> None:
        remove_cgroup(self.name)
        os.waitpid(self.pid, 0)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in this host."""
        spaces = [
            f"--{word}=/proc/{self.pid}/ns/{file}"
            for word, file in (("mount", "mnt"), ("net", "net"), ("uts", "uts"), ("cgroup", "cgroup"))
        ]
        return ["nsenter", *spaces, f"--wdns={os.getcwd()}", *argv]

    def popen(self, *argv: str, **options: object) -> subprocess.Popen:
        """Begin a command in this host, inside its cgroups."""
        options.setdefault("env", self.environment)
        options.setdefault("text", True)
        return subprocess.Popen(self.command(*argv), preexec_fn=self._join, **options)  # type: ignore[call-overload]

    def run(
        self, *argv: str, check: bool = False, input: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess:
        """Run a command in this host to its end; output and errors are in the result, as text."""
        options = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run(
            self.command(*argv),
            check=check,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            preexec_fn=self._join,
            **options,
        )  # type: ignore[call-overload]

    @contextlib.contextmanager
    def serving(self, *where: str) -> Iterator[None]:
        """With a TCP server on port 9000 that tells each client the address under which it sees him.

        Arguments: where, words before the command, if it shall run in another namespace than this host's.
        """
        with self.popen(*where, sys.executable, "-c", SERVER, stdout=subprocess.PIPE) as server:
            try:
                if server.stdout.readline() != "ready\n":  # type: ignore[union-attr]
                    raise RuntimeError("the server does not start")
                yield
            finally:
                server.kill()

    def to_outside(self) -> list[str]:
        """The words before a command that shall run in the outside world."""
        return ["nsenter", f"--net=/proc/{self.run('cat', '/run/outside.pid', check=True).stdout}/ns/net"]

    def outside_run(self, *argv: str, **options: object) -> subprocess.CompletedProcess:
        """Run a command in the outside world."""
        return self.run(*self.to_outside(), *argv, **options)  # type: ignore[arg-type]

    def _join(self) -> None:
        trees = cgroup_trees()
        leaf = "/host" if all(kind == "cgroup2" for _, kind, _ in trees) else ""
        for mountpoint, _, _ in trees:
            Path(f"{mountpoint}/{self.name}{leaf}/cgroup.procs").write_text("0")


def main() -> int:
    """Run one command in a new throw-away host, with this terminal."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--outside", action="store_true", help="with an outside world at 203.0.113.2")
    parser.add_argument("command", nargs="+")
    words = parser.parse_args()
    with Host(outside=words.outside) as host:
        return host.popen(*words.command).wait()


if __name__ == "__main__":
    sys.exit(main())
