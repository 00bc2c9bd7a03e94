"""The network state of a host and of each running container's namespace, as raw text of the standard tools.

Nothing here knows what the text means; `canonical` makes two of them comparable.
"""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

from harness.twin.engines import Twin, begin, finish

TABLES = ("filter", "nat", "mangle", "raw")
#: (command, form of its output): "json"; "lines", whose order matters; "set", lines whose order says nothing.
NAMESPACE = (
    ("ip -d -j link", "json"),
    ("ip -d -j addr", "json"),
    ("ip -4 -d route show table all", "lines"),
    ("ip -6 -d route show table all", "set"),  # the kernel sorts by address, and the link-local ones are random
    ("ip rule; ip -6 rule", "lines"),
    ("ip neigh", "set"),
    ("bridge -d -j link", "json"),
    ("bridge fdb show | grep permanent", "set"),
    *((f"{program} -t {table} -S", "lines") for program in ("iptables", "ip6tables") for table in TABLES),
    ("sysctl -a -r ^net[.]", "set"),
    ("ss -Hlntu | tr -s ' '", "set"),
    ("conntrack -L | grep -v dst=224.0.0.22", "set"),  # a link that came up tells its groups, when the kernel likes
)
#: The three files that Docker mounts over the image's.
FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


class Section(NamedTuple):
    """A piece of what was seen: where, the form of the text ("json", "lines", "set"), the raw text."""

    title: str
    form: str
    text: str


class Running(NamedTuple):
    """A running container: its first process, and the file on which its network namespace should be mounted."""

    name: str
    pid: int
    netns: str


class Begun(NamedTuple):
    """A look that is being taken: the command runs."""

    twin: Twin
    title: str
    running: list[Running]
    process: subprocess.Popen


def begin_look(twin: Twin, title: str) -> Begun:
    """Begin to look at a host and all of its containers."""
    running = containers(twin)
    script = "; ".join([_script(), *(_script(one.pid) for one in running), "true"])
    return Begun(twin, title, running, begin(twin, "sh", "-c", script))


def finish_look(begun: Begun) -> list[Section]:
    """The sections of a look that was begun."""
    done = finish(begun.process)
    assert done.code == 0, f"{begun.title}: {done}"
    where = [("host", view) for view in NAMESPACE]
    for one in begun.running:
        where += [(one.name, view) for view in (*NAMESPACE, *((file, "lines") for file in FILES))]
    sections = [
        Section(f"{begun.title}, {place}: {what}", form, text)
        for (place, (what, form)), text in zip(where, done.out.split("\0")[1:], strict=True)
    ]
    sections.append(Section(f"{begun.title}, host: netns files", "set", netns_files(begun.twin, begun.running)))
    return sections


def containers(twin: Twin) -> list[Running]:
    """The running containers, sorted by name."""
    engine = " ".join(twin.words)
    out = twin.sh(
        f'ids=$({engine} ps -q); [ -z "$ids" ] || {engine} inspect -f '
        f"'{{{{.Name}}}},{{{{.State.Pid}}}},{{{{.NetworkSettings.SandboxKey}}}}' $ids"
    )
    return sorted(
        Running(name[1:], int(pid), twin.netns_file(name[1:], key))
        for name, pid, key in (line.split(",") for line in out.splitlines())
    )


def _script(pid: int = 0) -> str:
    """A shell script that shows everything of this namespace, or of process `pid`'s, each part after a NUL."""
    lines = "; ".join(f"printf '\\0'; {command} 2>/dev/null" for command, _ in NAMESPACE)
    if not pid:
        return lines
    files = "; ".join(f"printf '\\0'; cat /proc/{pid}/root{file}" for file in FILES)
    return f'nsenter --net=/proc/{pid}/ns/net sh -c "{lines}"; {files}'


def netns_files(twin: Twin, running: list[Running]) -> str:
    """For each container: whether the engine has mounted its network namespace on a file, and that file's mode."""
    lines = []
    for one in running:
        try:
            found = os.stat(f"/proc/{twin.pid}/root{one.netns}")
            whose = "its" if found.st_ino == os.stat(f"/proc/{one.pid}/ns/net").st_ino else "another"
            lines.append(f"{one.name}: mode {found.st_mode:o}, size {found.st_size}, {whose} namespace")
        except OSError as reason:
            lines.append(f"{one.name}: {reason.strerror}")
    return "\n".join(lines)
