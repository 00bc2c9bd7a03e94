"""`system reset-network`: remove everything of minirun's from the kernel's network, and prove it.

The proof is a comparison of the interfaces, firewall rules, sysctls and namespace names before and after. Whatever has
minirun's name on it must be gone, and of everything else not a line may have changed.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.engine.container import index, reconcile
from minirun.errors import EngineError
from minirun.kernel import process, procfs
from minirun.light import TYPE_CHECKING
from minirun.network.bridge import netns

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: The sysctls that minirun may have set: forwarding, and the filtering of bridged packets.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
)


class Report:
    """What a reset has done, in lines of `snapshot`.

    `.gone`, minirun's lines that were removed; `.left`, those that are still there; `.changed`, sysctls and policies
    that were set back, as (before, after); `.foreign`, lines of others that have appeared or disappeared; `.why`, what
    had to be left, and why.
    """

    __slots__ = ("changed", "foreign", "gone", "left", "why")

    def __init__(self, before: list[str], after: list[str], marks: set[str], why: list[str]) -> None:
        self.why = why
        gone = [line for line in before if line not in after]
        came = [line for line in after if line not in before]
        settings = [line for line in came if line.startswith(("switch", "policy"))]
        self.changed = [(old, new) for new in settings for old in gone if _subject(old) == _subject(new)]
        self.gone = [line for line in gone if _is_ours(line, marks)]
        self.left = [line for line in after if _is_ours(line, marks)]
        known = {*self.gone, *(line for pair in self.changed for line in pair)}
        self.foreign = [line for line in (*gone, *came) if line not in known]


def _subject(line: str) -> str:
    return line.rpartition(" ")[0]


def _is_ours(line: str, marks: set[str]) -> bool:
    return "MINIRUN" in line or any(word in marks for word in line.split())


def reset(daemon: Daemon) -> Report:
    """Remove minirun's interfaces, rules and names, and set the sysctls back.

    Errors: EngineError while a container runs: it would lose its network.
    """
    reconcile.reconcile_all(daemon)
    running = [container.name for container, status in index.statuses(daemon) if status.state == "running"]
    if running:
        raise EngineError(f"cannot reset the network while containers run: {' '.join(running)}")
    marks = {network.bridge.name for network in daemon.networks.every() if network.has_bridge}
    marks |= {
        veth
        for name in store.names(f"{daemon.exec_root}/networks")
        for veth in store.names(f"{daemon.exec_root}/networks/{name}/cables")
    }
    before = snapshot()
    why = daemon.networks.reset()
    return Report(before, snapshot(), marks, why)


def snapshot() -> list[str]:
    """A line for each interface, firewall rule, policy, sysctl, and name of a network namespace."""
    lines = [f"link {name}" for name in sorted(os.listdir("/sys/class/net"))]
    for program in ("iptables-save", "ip6tables-save"):
        lines += _rules(program)
    for path in SYSCTLS:
        if os.path.exists(f"/proc/sys/{path}"):
            lines.append(f"switch {path.replace('/', '.')} {procfs.read(f'/proc/sys/{path}').strip()}")
    return lines + [f"name {netns.DIRECTORY}/{name}" for name in store.names(netns.DIRECTORY)]


def _rules(program: str) -> list[str]:
    """The rules and chains that a program lists, each with its table, and the policies, without the counters."""
    lines, table = [], ""
    family = program.removesuffix("-save")
    for line in process.run([program]).out.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            lines.append(
                f"chain {family} {table} {chain}" if policy == "-" else f"policy {family} {table} {chain} {policy}"
            )
        elif line.startswith("-"):
            lines.append(f"rule {family} {table} {line}")
    return lines
