"""Images: what it takes until a large one is here, to learn that it is here already, and to list two hundred.

Both engines pull from the same registry (Debian's docker-registry) and load the same archive. A round begins without
the image, and with nothing left to be written to the disk; the files that are read are in the page cache for both.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from big_image import Image
from rivals import SYSTEM_PATH, Docker, Minirun, Missing, checked, milliseconds
from table import Table

from harness.registry import servers

NEEDED = {"docker-registry": "docker-registry", "skopeo": "skopeo"}  # program → Debian package
LAYERS, LISTED = 8, 200
MEMORY = 100  # MiB
ENOUGH = 35  # seconds for `pull`, and for `load`; a slow machine gets fewer rounds, but at least one
Pair = tuple[list[float], list[float]]
InTurn = Callable[[dict, float], dict[str, list[float]]]


class _Here:
    """This throw-away host, for tests/harness/registry, which else looks into one from outside."""

    pid = "self"

    @staticmethod
    def popen(*argv: str, **options: object) -> subprocess.Popen:
        return subprocess.Popen(argv, **options)  # type: ignore[call-overload]


class Images:
    """The chapter. Arguments: table; minirun, docker; scratch (Path); quick (bool); in_turn, see run.py."""

    def __init__(
        self, table: Table, rivals: tuple[Minirun, Docker], scratch: Path, quick: bool, in_turn: InTurn
    ) -> None:
        self.table, self.rivals, self.scratch, self.in_turn = table, rivals, scratch / "images", in_turn
        self.megabytes, self.rounds = (100, 2) if quick else (1000, 3)
        for program, package in NEEDED.items():
            if not shutil.which(program, path=SYSTEM_PATH):
                raise Missing(f"{program}: apt-get install {package}")
        self.scratch.mkdir()

    def compare(self) -> None:
        """All of it."""
        image = Image(self.scratch / "image", self.megabytes, LAYERS)
        with servers.DockerRegistry(_Here, self.scratch).running() as registry:  # type: ignore[arg-type]
            self.name = f"{registry.name}/big:1"
            checked(
                [
                    "/usr/bin/skopeo",
                    "copy",
                    "--insecure-policy",
                    "--preserve-digests",
                    "--dest-tls-verify=false",
                    f"dir:{image.place}",
                    f"docker://{self.name}",
                ],
                {"PATH": SYSTEM_PATH},
            )
            shutil.rmtree(image.place)
            self.compare_arrivals(("pull", "-q", self.name), f"{image.files} files")
            self.compare_pulls_again()
        archive = self.scratch / "big.tar"
        docker = self.rivals[1]
        checked(docker.words("save", "-o", str(archive), self.name), docker.environment)
        self.compare_arrivals(("load", "-q", "-i", str(archive)), f"{image.files} files")
        archive.unlink()
        self._forget()
        self.compare_lists()

    def compare_arrivals(self, words: tuple[str, ...], what: str) -> None:
        """`pull` or `load` of the image, in turn; minirun is watched meanwhile, which costs it a hundredth."""
        times: Pair = ([], [])
        peaks = []
        begun = time.monotonic()
        for number in range(self.rounds):
            for which in ((0, 1), (1, 0))[number % 2]:
                self._forget()
                rival = self.rivals[which]
                if which == 0:
                    took, peak = watched(rival.words(*words), rival.environment)
                    peaks.append(peak)
                else:
                    took = milliseconds(rival.words(*words), rival.environment)
                times[which].append(took / 1000)
            if time.monotonic() - begun > ENOUGH:
                break
        verb, size = words[0], f"{self.megabytes} MB in {LAYERS} layers, {what}"
        self.table.add(f"{verb}, {size} / docker {verb}", *times, unit="s", goal=1)
        self.table.add_limit(f"  peak memory of that {verb}", [max(peaks)], [], unit="MiB", goal=MEMORY)

    def compare_pulls_again(self) -> None:
        """`pull` of an image that has not changed."""
        self._in_turn("pull of an unchanged image / docker pull", ("pull", self.name))

    def compare_lists(self) -> None:
        """`images` when there are many."""
        archive = self.scratch / "small.tar"
        write_small_images(archive, LISTED)
        for rival in self.rivals:
            checked(rival.words("load", "-q", "-i", str(archive)), rival.environment)
        self._in_turn(f"images, {LISTED} images / docker images", ("images",))

    def _in_turn(self, what: str, words: tuple[str, ...]) -> None:
        commands = {type(rival): (rival.words(*words), rival.environment) for rival in self.rivals}
        times = self.in_turn(commands, 0.05)
        self.table.add(what, times[Minirun], times[Docker], goal=0.5)

    def _forget(self) -> None:
        """Remove the image, and wait until that is on the disk."""
        for rival in self.rivals:
            if checked(rival.words("images", "-q", self.name), rival.environment):
                checked(rival.words("rmi", "-f", self.name), rival.environment)
        os.sync()


def write_small_images(path: Path, number: int) -> None:
    """Write a docker-archive of `number` (int) images, each of a common layer and one of its own."""
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes) -> str:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            return name

        def layer(word: str) -> tuple[str, str]:
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w") as inner:
                inner.addfile(tarfile.TarInfo(word))
            digest = hashlib.sha256(data.getvalue()).hexdigest()
            return add(f"{digest}/layer.tar", data.getvalue()), f"sha256:{digest}"

        common, items = layer("common"), []
        for place in range(number):
            own = layer(f"own-{place}")
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {"Cmd": ["sh"]},
                    "created": f"2026-01-01T00:{place // 60:02}:{place % 60:02}Z",
                    "rootfs": {"type": "layers", "diff_ids": [common[1], own[1]]},
                }
            ).encode()
            items.append(
                {
                    "Config": add(f"{hashlib.sha256(config).hexdigest()}.json", config),
                    "RepoTags": [f"small-{place}:latest"],
                    "Layers": [common[0], own[0]],
                }
            )
        add("manifest.json", json.dumps(items).encode())


def watched(argv: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command. Returns: milliseconds; the most memory that its processes had at a time, in MiB.

    That is the sum of their own peaks until then (VmHWM, proc(5)), so rather too much: pages that they share are
    counted for each. Errors: RuntimeError when it fails.
    """
    most = [0]
    ended = threading.Event()

    def memory(pid: str) -> int:
        try:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            children = [
                child
                for thread in os.listdir(f"/proc/{pid}/task")
                for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            return 0
        return int(status.get("VmHWM", "0").split()[0]) + sum(map(memory, children))

    def watch() -> None:
        while not ended.wait(0.02):
            most.append(memory(str(process.pid)))

    begun = time.perf_counter()
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    took = (time.perf_counter() - begun) * 1000
    ended.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv[:4])}: exit code {process.returncode}")
    return took, max(most) / 1024
