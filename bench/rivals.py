"""Who is measured: minirun, runc and Docker, each with nothing but its own directories.

All of them live in a throw-away host (tests/harness/host.py): its links, rules, mounts and cgroups end with it. What is
on disk is below one temporary directory, which the caller removes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SLEEP = ("sleep", "600")


class Missing(Exception):
    """A rival that this machine does not have; the text says what to install."""


def checked(argv: list[str], environment: dict[str, str]) -> str:
    """Run a command to its end. Returns: its standard output. Errors: RuntimeError with what it complained about."""
    result = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(argv[:4])}: {result.stderr.strip()[-500:]}")
    return result.stdout


def milliseconds(argv: list[str], environment: dict[str, str]) -> float:
    """Run a command and say how long that took, from the fork to the end of the wait.

    Errors: RuntimeError when it fails: the time of a failure is no measurement.
    """
    with tempfile.TemporaryFile() as output:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        begun = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took = (time.perf_counter() - begun) * 1000
        if code:
            output.seek(0)
            complaint = output.read().decode(errors="replace")[-500:]
            raise RuntimeError(f"{' '.join(argv[:4])}: exit code {code}: {complaint}")
        return took


def pss_of(pid: int) -> float:
    """A process's proportional set size in MiB: its own memory, and its share of what it shares (proc(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss")


class Minirun:
    """The installed `minirun`, with a data root of its own that holds the image.

    Arguments: program (str), the path of the launcher; scratch (Path); archive (str), the image's layer as a tar.
    """

    def __init__(self, program: str, scratch: Path, archive: str) -> None:
        from minirun.image.archive import import_tar as importer
        from minirun.image.images import Images

        self.program, self.data, self.run = program, scratch / "minirun", Path("/run/minirun")
        self.environment = {"PATH": SYSTEM_PATH, "MINIRUN_ROOT": str(self.data), "MINIRUN_EXEC_ROOT": str(self.run)}
        importer.import_tar(Images(f"{self.data}/images"), archive, "alpine")
        self.version = checked([program, "--version"], self.environment).strip()

    def words(self, *words: str) -> list[str]:
        """The command line for a verb."""
        return [self.program, *words]

    def start(self) -> list[str]:
        """The command line that starts a container which stays."""
        return self.words("run", "-d", "alpine", *SLEEP)

    def running(self) -> list[str]:
        """The IDs of the running containers."""
        return checked(self.words("ps", "-q", "--no-trunc"), self.environment).split()

    def monitors(self) -> list[int]:
        """The pids of the monitors of the running containers."""
        return [
            json.loads((self.run / "containers" / name / "monitor.json").read_text())["pid"] for name in self.running()
        ]

    def memory(self) -> list[float]:
        """PSS (MiB) of each monitor."""
        return [pss_of(pid) for pid in self.monitors()]

    def wait_for_rest(self, seconds: float = 20) -> None:
        """Wait until all monitors are at rest (see minirun/engine/shim/reexec.py), which is some work for each."""
        left, end = self.monitors(), time.monotonic() + seconds
        while left and time.monotonic() < end:
            left = [pid for pid in left if b"reexec" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
            time.sleep(0.1)

    def remove_all(self) -> None:
        """Remove all containers."""
        names = checked(self.words("ps", "-aq"), self.environment).split()
        if names:
            checked(self.words("rm", "-f", *names), self.environment)

    close = remove_all


class Runc:
    """runc, with a bundle that is as equal to minirun's container as can be.

    It is minirun's own config.json. Different are: the root is a plain copy of the layer (no overlay), and nobody
    plugs a cable into the network namespace.
    """

    def __init__(self, minirun: Minirun, scratch: Path) -> None:
        self.environment = {"PATH": SYSTEM_PATH}
        self.program = shutil.which("runc", path=SYSTEM_PATH) or ""
        if not self.program:
            raise Missing("runc: apt-get install runc")
        self.bundle = scratch / "bundle"
        self.bundle.mkdir()
        layer = self._take_config(minirun)
        subprocess.run(["cp", "-a", layer, self.bundle / "rootfs"], check=True)
        self.version = checked([self.program, "--version"], self.environment).splitlines()[0]

    def _take_config(self, minirun: Minirun) -> str:
        """Write the bundle's config.json. Returns: the directory of the image's layer."""
        name = checked(minirun.start(), minirun.environment).strip()
        spec = json.loads((minirun.run / "containers" / name / "config.json").read_text())
        overlay = spec["mounts"].pop(0)
        for mount in spec["mounts"]:
            if mount["type"] == "bind":  # /etc/hosts and the like: their copies stay when the container goes
                mount["source"] = shutil.copy(mount["source"], self.bundle)
        checked(minirun.words("rm", "-f", name), minirun.environment)
        spec["process"]["args"] = ["true"]
        spec["root"]["path"] = "rootfs"
        spec["linux"]["cgroupsPath"] = "/runc/bench"
        (self.bundle / "config.json").write_text(json.dumps(spec))
        lower = next(word for word in overlay["options"] if word.startswith("lowerdir="))
        return lower.rpartition(":")[2]

    def run(self) -> list[str]:
        """The command line that runs `true` in the bundle."""
        return [self.program, "--root", "/run/runc-bench", "run", "--bundle", str(self.bundle), "bench"]


class Docker:
    """A dockerd of our own: data, volatile files and socket are in the throw-away host. Debian's, not another one's."""

    def __init__(self, scratch: Path, archive: str) -> None:
        self.client, self.server = "/usr/bin/docker", "/usr/sbin/dockerd"
        if not (os.path.exists(self.client) and os.path.exists(self.server)):
            raise Missing("docker: apt-get install docker.io")
        self.run, self.data, self.log = Path("/run/docker-bench"), scratch / "docker", scratch / "docker.log"
        self.run.mkdir()
        socket = f"unix://{self.run}/docker.sock"
        self.environment = {"PATH": SYSTEM_PATH, "DOCKER_HOST": socket, "DOCKER_CONFIG": str(self.run / "client")}
        self._write_settings()
        self.containerd = self._begin("/usr/bin/containerd", "--config", f"{self.run}/containerd.toml")
        self.daemon = self._begin(
            self.server,
            "--config-file",
            f"{self.run}/daemon.json",
            "--data-root",
            str(self.data),
            "--exec-root",
            f"{self.run}/exec",
            "--pidfile",
            f"{self.run}/pid",
            "--host",
            socket,
            "--storage-driver",
            "overlay2",
            "--containerd",
            f"{self.run}/containerd.sock",
        )
        try:
            self.version = self._wait_for_answer()
            checked(self.words("import", archive, "alpine"), self.environment)
        except BaseException:
            self.close()
            raise

    def _write_settings(self) -> None:
        """Say where containerd and dockerd have their files; two of them would else be this machine's own."""
        (self.run / "daemon.json").write_text(json.dumps({"deprecated-key-path": f"{self.run}/key.json"}))
        (self.run / "containerd.toml").write_text(f"""
            version = 2
            root = "{self.data}/containerd"
            state = "{self.run}/containerd"
            disabled_plugins = ["io.containerd.grpc.v1.cri"]
            [grpc]
            address = "{self.run}/containerd.sock"
            [plugins."io.containerd.internal.v1.opt"]
            path = "{self.data}/opt"
        """)

    def _begin(self, *argv: str) -> subprocess.Popen:
        with self.log.open("a") as log:
            return subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_for_answer(self) -> str:
        for _ in range(600):
            if self.daemon.poll() is not None:
                raise RuntimeError(f"dockerd ended: {self.log.read_text()[-800:]}")
            try:
                version = checked(self.words("version", "--format", "{{.Server.Version}}"), self.environment)
                return f"docker version {version.strip()}"
            except RuntimeError:
                time.sleep(0.1)
        raise RuntimeError(f"dockerd does not answer: {self.log.read_text()[-800:]}")

    def words(self, *words: str) -> list[str]:
        """The command line for a verb."""
        return [self.client, *words]

    def start(self) -> list[str]:
        """The command line that starts a container which stays."""
        return self.words("run", "-d", "alpine", *SLEEP)

    def running(self) -> list[str]:
        """The IDs of the running containers."""
        return checked(self.words("ps", "-q", "--no-trunc"), self.environment).split()

    def memory(self) -> list[float]:
        """PSS (MiB) of the containerd-shim of each running container: the parent of its first process."""
        template = "{{.State.Pid}}"
        pids = checked(self.words("inspect", "--format", template, *self.running()), self.environment).split()
        return [pss_of(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])) for pid in pids]

    def fixed_memory(self) -> float:
        """PSS (MiB) of dockerd and containerd, which are there whether or not a container runs."""
        return pss_of(self.daemon.pid) + pss_of(self.containerd.pid)

    def remove_all(self) -> None:
        """Remove all containers."""
        names = checked(self.words("ps", "-aq"), self.environment).split()
        if names:
            checked(self.words("rm", "-f", *names), self.environment)

    def close(self) -> None:
        """Remove all containers and end the two daemons."""
        if self.daemon.poll() is None:
            try:
                self.remove_all()
            except RuntimeError as reason:
                print(reason, file=sys.stderr)  # the throw-away host's end takes them too
        for process in (self.daemon, self.containerd):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
