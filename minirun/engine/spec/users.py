"""The user and groups of a process: `-u USER[:GROUP]` resolved by the /etc/passwd and /etc/group of its image.

Numbers need no entry in these files, names do. Docker's rules, seen in passwd(5) and group(5) terms:
    nothing, or a user alone     the user's group from passwd, and each group that names the user as a member
    a number without an entry    that uid with gid 0 (not with a gid of the same number!)
    with ":GROUP"                that group and no other
Only the *contents* of the two files come here; `image.snapshot.read_file` reads them without following the image's
links out of the image.
"""

from __future__ import annotations

from minirun.errors import EngineError

#: The first and last number that Docker takes for a user or a group.
_LAST = 2**31 - 1


class User:
    """A resolved user: `.uid` and `.gid` (int), `.groups` (list of int, as Docker writes additionalGids: the primary
    group is its first entry), `.home` (str)."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def resolve(text: str, passwd: bytes | None, group: bytes | None, group_add: list[str] | None = None) -> User:
    """The user that `-u` (or the image's USER) asks for.

    Arguments: text, "USER[:GROUP]", names or numbers, "" for root; passwd, group, contents of the image's files, None
    where there is none; group_add, `--group-add`, names or numbers.
    Errors: EngineError in Docker's words. Source: `GetExecUser` of runc's libcontainer/user, which Docker uses.
    """
    name, _, group_name = text.partition(":")
    group_name = group_name.partition(":")[0]
    user, known_as = _find_user(name, _entries(passwd, 7))
    groups = _entries(group, 4)
    if group_name:
        user.gid = _find_group(group_name, groups)
    elif known_as:
        user.groups = [_integer(entry[2]) for entry in groups if known_as in entry[3].split(",")]
    user.groups = [user.gid, *user.groups, *_added(group_add or [], groups)]
    return user


def _find_user(name: str, users: list[list[str]]) -> tuple[User, str]:
    """The user without supplementary groups, and the name under which /etc/group may list them ("": not known)."""
    number = _number(name) if name else 0
    for entry in users:
        if entry[0] == name if number is None else _integer(entry[2]) == number:
            return User(_integer(entry[2]), _integer(entry[3]), [], entry[5] or "/"), entry[0]
    if number is None:
        raise EngineError(f"unable to find user {name}: no matching entries in passwd file")
    return User(_in_range(number), 0, [], "/"), ""


def _find_group(name: str, groups: list[list[str]]) -> int:
    number = _number(name)
    if number is not None:
        return _in_range(number)
    for entry in groups:
        if entry[0] == name:
            return _integer(entry[2])
    raise EngineError(f"unable to find group {name}: no matching entries in group file")


def _added(names: list[str], groups: list[list[str]]) -> list[int]:
    """The numbers of `--group-add`, each once. A name may look like a number, so the file is asked first."""
    gids: list[int] = []
    for name in names:
        known = [_integer(entry[2]) for entry in groups if name in (entry[0], entry[2])]
        number = known[0] if known else _number(name)
        if number is None:
            raise EngineError(f"Unable to find group {name}: no matching entries in group file")
        if _in_range(number) not in gids:
            gids.append(number)
    return gids


def _entries(content: bytes | None, fields: int) -> list[list[str]]:
    """The lines of passwd(5) or group(5) as lists of `fields` texts; comments and empty lines are left out."""
    entries = []
    for line in (content or b"").decode("utf-8", "surrogateescape").split("\n"):
        line = line.strip()
        if line and not line.startswith("#"):
            entries.append((line.split(":") + [""] * fields)[:fields])
    return entries


def _number(text: str) -> int | None:
    """A decimal number with or without a sign, None for everything else (a user may be called "1a")."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdecimal() else None


def _integer(text: str) -> int:
    """A number out of a file; 0 for what is none, as Docker has it."""
    return _number(text) or 0


def _in_range(number: int) -> int:
    if not 0 <= number <= _LAST:
        raise EngineError(f"uids and gids must be in range 0-{_LAST}")
    return number
