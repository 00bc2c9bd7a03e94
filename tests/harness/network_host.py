"""A throw-away host for network tests: run Python in it, hold container namespaces, ask the kernel what it has."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
import traceback

from harness.host import Host
from minirun.kernel import syscalls

RUN = "/run/minirun"
DATA = "/run/minirun-data"  # /run is the throw-away host's own


class NetworkHost(Host):
    """`Host` with what network tests ask again and again."""

    def __enter__(self) -> NetworkHost:
        super().__enter__()
        self.holders: list[subprocess.Popen] = []
        return self

    def __exit__(self, *words: object) -> None:
        for holder in self.holders:
            holder.kill()
            holder.wait()
        super().__exit__(*words)

    def start(self, function, *arguments):
        """Begin `function` in a process of this host; returns (pid, file with its answer)."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return pid, os.fdopen(reader, "rb")
        answer = None
        try:
            spaces = {word: os.open(f"/proc/{self.pid}/ns/{word}", os.O_RDONLY) for word in ("net", "uts", "mnt")}
            syscalls.setns(spaces["net"], syscalls.CLONE_NEWNET)
            syscalls.setns(spaces["uts"], syscalls.CLONE_NEWUTS)
            syscalls.setns(spaces["mnt"], syscalls.CLONE_NEWNS)
            answer = ("ok", function(*arguments))
        except BaseException as error:  # noqa: BLE001  (it is raised again on the other side)
            traceback.print_exc()
            answer = ("error", (type(error).__name__, str(error), getattr(error, "hint", "")))
        finally:
            with os.fdopen(writer, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)

    @staticmethod
    def answer(begun):
        """What a begun function returned. Errors: `Failed`."""
        pid, file = begun
        with file:
            kind, value = pickle.load(file)
        os.waitpid(pid, 0)
        if kind == "error":
            raise Failed(*value)
        return value

    def call(self, function, *arguments):
        """Run `function` in this host to its end."""
        return self.answer(self.start(function, *arguments))

    def namespace(self) -> int:
        """The pid of a process that sits in a new network namespace, as a container's first process would."""
        holder = self.popen("unshare", "--net", "sleep", "600", stdout=subprocess.DEVNULL)
        self.holders.append(holder)
        host = os.readlink(f"/proc/{self.pid}/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") in (host, os.readlink("/proc/self/ns/net")):
            time.sleep(0.002)
        return holder.pid

    def end(self, pid: int) -> None:
        """End the process of a namespace."""
        holder = next(holder for holder in self.holders if holder.pid == pid)
        holder.kill()
        holder.wait()

    def text(self, *argv: str) -> str:
        """A command's output; the command must succeed."""
        done = self.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def within(self, pid: int, *argv: str) -> str:
        """A command's output in a container's network namespace."""
        return self.text("nsenter", f"--net=/proc/{pid}/ns/net", *argv)

    def links(self, pid: int = 0) -> dict[str, dict]:
        """The links of the host or of a namespace, by name, as `ip -d -j addr` has them."""
        words = ("ip", "-d", "-j", "addr")
        listed = json.loads(self.within(pid, *words) if pid else self.text(*words))
        for link in listed:
            for timer in ("gc_timer", "hello_timer", "tcn_timer", "topology_change_timer"):  # never twice the same
                link.get("linkinfo", {}).get("info_data", {}).pop(timer, None)
        return {link["ifname"]: link for link in listed if "ifname" in link}

    def sysctl(self, name: str, pid: int = 0) -> str:
        """The value of a net sysctl."""
        words = ("cat", f"/proc/sys/net/{name}")
        return (self.within(pid, *words) if pid else self.text(*words)).strip()

    def rules(self) -> str:
        """All rules, filter then nat."""
        return self.text("iptables", "-S") + self.text("iptables", "-t", "nat", "-S")

    def wait_for(self, condition, what: str, seconds: float = 10) -> None:
        """Wait until `condition()` is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still waiting: {what}"
            time.sleep(0.01)


class Failed(Exception):
    """What a function in the host raised: `.kind`, the words, `.hint`."""

    def __init__(self, kind: str, words: str, hint: str) -> None:
        super().__init__(words)
        self.kind, self.hint = kind, hint
