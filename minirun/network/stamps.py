"""How a start knows, almost for nothing, that all is still in place: what was last seen is written down as a number.

A stamp says under which boot and in which network namespace something was seen to be in place. For a bridge it holds
the number of its link: one that was deleted and made again has another. For the firewall rules it is the kernel's own
count of their generations: whoever changes a rule, moves it on.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.kernel import nfnetlink, procfs


def host() -> str:
    """What tells this boot and this network namespace from any other."""
    return f"{procfs.boot_id()} {os.stat('/proc/self/ns/net').st_ino}"


def generation() -> str:
    """What changes whenever somebody changes a rule; "" when the kernel does not say."""
    number = nfnetlink.ruleset_generation()
    return "" if number is None else str(number)


def is_unchanged(run: str) -> bool:
    """True when nobody has touched the rules since all of them were last known to be in place."""
    try:
        with open(f"{run}/networks/rules", encoding="utf-8") as file:
            return file.read() == f"{host()} {generation()}\n"
    except FileNotFoundError:
        return False


def renew(run: str) -> None:
    """Write down that all rules are in place. The caller holds the lock and has just seen to it."""
    store.write_text(f"{run}/networks/rules", f"{host()} {generation()}\n")


def forget(run: str) -> None:
    """Have the next start look at all rules."""
    store.discard(f"{run}/networks/rules")
