"""`-v`, `--mount` and `--tmpfs`, checked and turned into mount points as `inspect` shows them (moby, volume/mounts).

A bind mount makes a directory or file of the host appear in the container (mount(8), --bind). Docker gives it the
propagation "rprivate" unless asked otherwise: what is mounted below it later on one side stays on that side. A tmpfs is
a file system in memory, gone when the container ends. A volume is a directory that minirun keeps (see `volumes`): a
named one may be used by one container after another, an anonymous one is created for this container.
"""

from __future__ import annotations

import os

from minirun.errors import BadParameter, EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
#: Each word of a -v mode belongs to one group, of which a mode may name one.
_MODES = {
    **dict.fromkeys(("ro", "rw"), "access"),
    **dict.fromkeys(("z", "Z"), "label"),
    "nocopy": "copy",
    **dict.fromkeys(PROPAGATIONS, "propagation"),
}
# For a tmpfs: words that set or clear the same thing exclude each other, the last one wins.
_TMPFS_WORDS = {
    word: words[-1]
    for words in (
        ("ro", "rw"),
        ("suid", "nosuid"),
        ("dev", "nodev"),
        ("exec", "noexec"),
        ("async", "sync"),
        ("dirsync",),
        ("nomand", "mand"),
        ("atime", "noatime"),
        ("diratime", "nodiratime"),
        ("norelatime", "relatime"),
        ("nostrictatime", "strictatime"),
        (*PROPAGATIONS, "unbindable", "runbindable"),
    )
    for word in words
}
_TMPFS_KEYS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")


def parse_all(
    binds: list[str], mounts: list[dict], volumes: Iterable[str] = (), tmpfs: Container[str] = ()
) -> list[dict]:
    """The mount points of a container, with Type, Source, Destination, Mode, RW, Propagation.

    A volume has Name and Driver, too, and may have NoCopy and Labels (see `parse`); a tmpfs may have
    TmpfsOptions, a bind mount NonRecursive.

    Arguments: binds (list of "SOURCE:DESTINATION[:MODE]"); mounts (HostConfig.Mounts, as Docker's API has them);
    volumes, the paths in Config.Volumes, which become volumes unless something else is mounted there; tmpfs, the paths
    of `--tmpfs`. Errors: BadParameter as Docker's.
    """
    found = [_bind(bind) for bind in binds]
    taken = {point["Destination"] for point in found if point["Destination"] in tmpfs}
    found += [_mount(mount) for mount in mounts]
    for point in found:
        if point["Destination"] in taken:
            raise BadParameter(f"Duplicate mount point: {point['Destination']}")
        taken.add(point["Destination"])
    for path in volumes:
        from minirun.engine.volume import parse  # few images have any

        point = parse.anonymous(path)
        if point["Destination"] not in taken and point["Destination"] not in tmpfs:
            taken.add(point["Destination"])
            found.append(point)
    return found


def binds_and_volumes(words: Sequence[str]) -> tuple[list[str], dict[str, dict]]:
    """The values of `-v` split into HostConfig.Binds and Config.Volumes. Errors: BadParameter."""
    volumes = [word for word in words if word and ":" not in word]
    for path in volumes:
        _check_bind("volume", path, path)
    return [absolute_source(word) for word in words if word not in volumes], {path: {} for path in volumes}


def _bind(text: str) -> dict:
    """One `-v`. Source: `ParseMountRaw` of Docker's volume/mounts."""
    parts = text.split(":", 3)
    if not parts[0] or len(parts) not in (2, 3) or (len(parts) == 2 and is_mode(parts[1])):
        raise BadParameter(f"invalid volume specification: '{text}'")
    mode = parts[2] if len(parts) == 3 else ""
    if not is_mode(mode):
        raise BadParameter(f"invalid mode: {mode}")
    source, destination = parts[:2]
    kind = "bind" if source.startswith("/") else "volume"
    _check_bind(kind, destination, text)
    words = mode.split(",")
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if propagation if kind == "volume" else "nocopy" in words:
        wrong = f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": field "
        raise BadParameter(f"{wrong}{'Bind' if kind == 'volume' else 'Volume'}Options must not be specified")
    if kind == "volume":
        from minirun.engine.volume import parse  # most containers have none

        return parse.named(source, _clean(destination), mode)
    return {
        **_point("bind", source, destination, mode),
        "RW": "ro" not in words,
        "Propagation": propagation or "rprivate",
    }


def _check_bind(kind: str, destination: str, text: str) -> None:
    try:
        _check_destination(kind, destination)
    except BadParameter as reason:
        raise BadParameter(f"invalid volume specification: '{text}': {reason}") from None


def _mount(mount: dict) -> dict:
    """One `--mount`. Unlike `-v` it does not create a missing source, so that is an error here."""
    kind, source, destination = mount["Type"], mount.get("Source", ""), mount.get("Target", "")
    _check_destination(kind, destination)
    wrong = f'invalid mount config for type "{kind}": '
    if kind == "tmpfs":
        if source:
            raise BadParameter(f"{wrong}field Source must not be specified")
        return {
            **_point("tmpfs", "", destination),
            "RW": not mount.get("ReadOnly"),
            "Propagation": "",
            "TmpfsOptions": mount.get("TmpfsOptions") or {},
        }
    if kind == "volume":
        from minirun.engine.volume import parse

        return parse.mounted(mount, _clean(destination))
    if kind != "bind":
        raise BadParameter(f"{wrong}mount type unknown")
    if not source:
        raise BadParameter(f"{wrong}field Source must not be empty")
    _check_absolute(source, wrong)
    if not os.path.exists(source):
        raise BadParameter(f"{wrong}bind source path does not exist: {source}")
    options = mount.get("BindOptions") or {}
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in PROPAGATIONS:
        raise BadParameter(f"{wrong}invalid propagation mode: {propagation}")
    point = {**_point("bind", source, destination), "RW": not mount.get("ReadOnly"), "Propagation": propagation}
    return {**point, "NonRecursive": True} if options.get("NonRecursive") else point


def _point(kind: str, source: str, destination: str, mode: str = "") -> dict:
    return {"Type": kind, "Source": _clean(source) if source else "", "Destination": _clean(destination), "Mode": mode}


def _clean(path: str) -> str:
    """Without "//", "/./" and "/..", as Docker records it (a path alone, no link is looked at)."""
    return "/" + os.path.normpath(path).lstrip("/")


def is_mode(text: str) -> bool:
    """True for a mode of -v: known words with commas between them, one at most of each group."""
    if not text:
        return True
    groups = [_MODES.get(word) for word in text.split(",")]
    return None not in groups and len(groups) == len(set(groups))


def _check_destination(kind: str, destination: str) -> None:
    wrong = f'invalid mount config for type "{kind}": '
    if not destination:
        raise BadParameter(f"{wrong}field Target must not be empty")
    if destination.startswith("/") and _clean(destination) == "/":
        raise BadParameter(f"{wrong}invalid specification: destination can't be '/'")
    _check_absolute(destination, wrong)


def _check_absolute(path: str, wrong: str) -> None:
    if not path.startswith("/"):
        raise BadParameter(f"{wrong}invalid mount path: '{path}' mount path must be absolute")


def parse_tmpfs(entries: Sequence[str]) -> dict[str, str]:
    """HostConfig.Tmpfs: path → options, of `--tmpfs PATH[:OPTIONS]`. Errors: BadParameter as Docker's."""
    found = {}
    for entry in entries:
        path, _, options = entry.partition(":")
        if path.startswith("/") and _clean(path) == "/":
            raise BadParameter("invalid specification: destination can't be '/'")
        _check_absolute(path, "")
        tmpfs_options(options.split(",") if options else [])
        found[_clean(path)] = options
    return found


def tmpfs_options(given: list[str]) -> list[str]:
    """The mount options of a tmpfs: Docker's noexec, nosuid and nodev, overridden by those given.

    Errors: BadParameter for a word that tmpfs(5) does not know. Source: `MergeTmpfsOptions` of Docker's pkg/mount.
    """
    chosen: list[str] = []
    seen = set()
    for option in reversed(["noexec", "nosuid", "nodev", "rprivate", *given]):
        key, equals, _ = option.partition("=")
        if option == "defaults":
            continue
        if not equals and key in _TMPFS_WORDS:
            subject = _TMPFS_WORDS[key]
        elif equals and key in _TMPFS_KEYS:
            subject = key
        else:
            parts = f'"{key}" "{option.partition("=")[2]}"' if equals else f'"{key}"'
            raise BadParameter(f"Invalid tmpfs option [{parts}]")
        if subject not in seen:
            seen.add(subject)
            chosen.insert(0, option)
    return chosen


def absolute_source(bind: str) -> str:
    """A `-v` whose source starts at the current directory ("./data:/data"), with its absolute path."""
    source, colon, rest = bind.partition(":")
    return f"{os.path.abspath(source)}:{rest}" if colon and (source == "." or source.startswith("./")) else bind


def missing_sources(record: dict) -> list[str]:
    """The sources of `-v` that do not exist on the host: Docker creates them (root, 0755) at each start.

    `--mount` never makes one.
    """
    never = {_clean(mount["Target"]) for mount in record["HostConfig"].get("Mounts") or []}
    return [
        point["Source"]
        for point in record["MountPoints"]
        if point["Type"] == "bind" and point["Destination"] not in never and not os.path.lexists(point["Source"])
    ]


def validate_propagation(point: dict, mountinfo: str) -> None:
    """Refuse shared or slave propagation where the host's mount below the source has nothing to propagate.

    Arguments: point, a mount point; mountinfo, the text of /proc/self/mountinfo.
    Errors: EngineError as Docker's (when the container is started, as there).
    """
    kind = point["Propagation"].removeprefix("r")
    if kind not in ("shared", "slave"):
        return
    best, tags = "", ""
    for line in mountinfo.splitlines():
        fields, _, _ = line.partition(" - ")
        where, optional = fields.split(" ")[4].replace("\\040", " "), fields.split(" ", 6)[6:]
        if len(where) >= len(best) and f"{point['Source']}/".startswith(where.rstrip("/") + "/"):
            best, tags = where, "".join(optional)
    if "shared:" not in tags and (kind == "shared" or "master:" not in tags):
        wanted = "a shared mount" if kind == "shared" else "a shared or slave mount"
        raise EngineError(f"path {point['Source']} is mounted on {best} but it is not {wanted}")
