"""The capabilities of a container: Docker's fourteen defaults, `--cap-add`, `--cap-drop` (capabilities(7)).

The list is from 2013 and has hardly changed since: what package managers and network daemons in containers needed.
Notable for what is not in it: SYS_ADMIN (mount and much more), NET_ADMIN (the container's own interfaces), SYS_PTRACE.
"""

from __future__ import annotations

from minirun.kernel import capabilities

#: All that Docker 20.10 knows, and what it means by ALL: those up to AUDIT_READ (37), three fewer than Linux 5.9 has.
KNOWN = tuple(f"CAP_{name}" for name in capabilities.NAMES[:38])
#: In Docker's order.
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)


def full_name(word: str) -> str:
    """ "net_admin" or "CAP_NET_ADMIN" → "CAP_NET_ADMIN"; "all" → "ALL". Errors: ValueError with the daemon's words."""
    name = word.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in KNOWN:
        raise ValueError(f'unknown capability: "{name}"')
    return name


def granted(added: list[str], dropped: list[str]) -> list[str]:
    """The capabilities of a container. Arguments: added, dropped (lists of str), as typed and checked before.

    "ALL" on one side means the other side is the exception. Source: Docker's `TweakCapabilities`.
    """
    adds, drops = [full_name(word) for word in added], [full_name(word) for word in dropped]
    if "ALL" in adds:
        return [name for name in KNOWN if name not in drops]
    if "ALL" in drops:
        return list(dict.fromkeys(adds))
    return list(dict.fromkeys([name for name in DEFAULT if name not in drops] + adds))


def capability_sets(names: list[str], uid: int) -> dict[str, list[str]]:
    """The capability sets of a process in config.json.

    Other users than root get empty permitted and effective sets, as execve(2) would leave them anyway; the bounding
    set stays, so a set-user-ID program of the image can still get these. Inheritable and ambient are empty: anything in
    them would survive a change of user (Docker emptied inheritable for CVE-2022-24769).
    """
    usable = names if uid == 0 else []
    return {"bounding": names, "effective": list(usable), "permitted": list(usable), "inheritable": [], "ambient": []}
