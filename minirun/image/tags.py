"""Which names point at which images, and what lists show of them: pure functions on the descriptors of index.json.

A name is kept in the two annotations that are customary: `org.opencontainers.image.ref.name`, the familiar form
("alpine:3.20"), for which skopeo looks, and `io.containerd.image.name`, the full one.
"""

from __future__ import annotations

from minirun.errors import ClientError
from minirun.image import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAMILIAR_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
#: Ours: the digest that the name had in its registry when the image was pulled or pushed; it may be that of an index of
#: platforms.
PULLED = "minirun.pulled.digest"
#: What `images` shows, so that a list reads one file and not several for each image. All of it follows from what the
#: descriptor's digest stands for, and never changes: this is no cache that could be out of date.
ID, CREATED, SIZE = "minirun.image.id", "org.opencontainers.image.created", "minirun.image.size"
#: When an image was made that does not say it: the first moment that Go's time.Time can name.
NEVER = "0001-01-01T00:00:00Z"


def full_name(entry: dict) -> str:
    """The full name in a descriptor's annotations, "" when it has none that Docker's grammar knows.

    What skopeo and umoci write, or take away, is the familiar name: a full one that does not go with it is a thing of
    the past.
    """
    notes = entry.get("annotations") or {}
    familiar, full = notes.get(FAMILIAR_NAME, ""), notes.get(FULL_NAME, "")
    if familiar and full in (familiar, f"docker.io/{familiar}", f"docker.io/library/{familiar}"):
        return full
    try:
        return reference.parse(familiar).with_tag().full if familiar else ""
    except ClientError:  # another tool's choice; the image can still be had by its id
        return ""


def archived_name(entry: dict) -> str:
    """The same in an archive, where containerd and newer Dockers write the bare tag as the familiar name."""
    return (entry.get("annotations") or {}).get(FULL_NAME) or full_name(entry)


def familiar_name(entry: dict) -> str:
    """The name in a descriptor as people write it: "alpine:latest"."""
    return reference.familiar(full_name(entry))


def named(entry: dict, name: reference.Reference | None) -> dict:
    """The descriptor with another name, or with none. In another repository it has no digest yet."""
    before = full_name(entry)
    moved = bool(name and before) and reference.parse(before).name != name.name  # type: ignore[union-attr]
    notes = {
        key: value
        for key, value in (entry.get("annotations") or {}).items()
        if key not in (FAMILIAR_NAME, FULL_NAME) and not (moved and key == PULLED)
    }
    if name:
        notes |= {FAMILIAR_NAME: name.familiar, FULL_NAME: name.full}
    return {
        **{key: value for key, value in entry.items() if key != "annotations"},
        **({"annotations": notes} if notes else {}),
    }


def with_entry(entries: list[dict], new: dict) -> list[dict]:
    """The index with a descriptor added: its name leaves whoever had it, its image keeps no nameless double."""
    name = full_name(new)
    rest = without_name(entries, reference.parse(name), moved=True) if name else entries
    if not name and any(entry["digest"] == new["digest"] for entry in entries):
        return entries
    return [entry for entry in rest if entry["digest"] != new["digest"] or full_name(entry)] + [new]


def without_name(entries: list[dict], name: reference.Reference, *, moved: bool = False) -> list[dict]:
    """The index without a name; an image whose only name it was stays, as <none>.

    Arguments: moved (bool), another image gets the name: one that was pulled can still be had by its digest.
    """
    rest = [entry for entry in entries if full_name(entry) != name.full]
    for entry in entries:
        if full_name(entry) == name.full and all(other["digest"] != entry["digest"] for other in rest):
            pulled = (entry.get("annotations") or {}).get(PULLED) if moved else None
            rest.append(named(entry, reference.Reference(name.domain, name.path, "", pulled) if pulled else None))
    return rest


def names_of(entries: Iterable[dict], digests: Sequence[str] | set[str]) -> list[str]:
    """The familiar names that point at manifests with these digests, in the order of the full ones, as in Docker."""
    named_so = {full: entry for entry in entries if entry["digest"] in digests and (full := full_name(entry))}
    return [familiar_name(named_so[full]) for full in sorted(named_so)]


def facts_of(entry: dict) -> tuple[str, str, int] | None:
    """An image's id, when it was made (RFC 3339), and its size in bytes; None if another tool wrote the descriptor."""
    notes = entry.get("annotations") or {}
    try:
        return notes[ID], notes[CREATED], int(notes[SIZE])
    except (KeyError, ValueError):
        return None


def digests_of(entries: Iterable[dict], digest: str) -> list[str]:
    """Under which repositories and digests a manifest was pulled: "alpine@sha256:...", Docker's RepoDigests.

    Arguments: digest (str), of the manifest.
    """
    found = []
    for entry in entries:
        pulled = (entry.get("annotations") or {}).get(PULLED)
        if entry["digest"] == digest and pulled and full_name(entry):
            found.append(f"{reference.parse(full_name(entry)).familiar_name}@{pulled}")
    return list(dict.fromkeys(found))
