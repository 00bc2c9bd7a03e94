"""Tags: which names refer to which images. Pure functions on the descriptors of index.json.

A name is stored in the two customary annotations: `org.opencontainers.image.ref.name`, the familiar form
("alpine:3.20"), which skopeo reads, and `io.containerd.image.name`, the full one.
"""

from __future__ import annotations

from minirun.errors import ClientError
from minirun.image import reference
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAMILIAR_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
#: minirun's: the digest that the name had in its registry when the image was pulled or pushed; it may be that of a
#: multi-platform index.
PULLED = "minirun.pulled.digest"
#: What `images` lists, so that it reads one file and not several for each image. All of it follows from the content of
#: the manifest's digest and never changes, so it cannot be out of date.
ID, CREATED, SIZE = "minirun.image.id", "org.opencontainers.image.created", "minirun.image.size"
#: The creation time of an image without one: the zero value of Go's time.Time.
ZERO_TIME = "0001-01-01T00:00:00Z"


def full_name(entry: dict) -> str:
    """The full name in a descriptor's annotations, "" when it has none that is valid in Docker's grammar.

    skopeo and umoci write and remove only the familiar name; so a full name that does not match it is out of date.
    """
    notes = entry.get("annotations") or {}
    familiar, full = notes.get(FAMILIAR_NAME, ""), notes.get(FULL_NAME, "")
    if familiar and full in (familiar, f"docker.io/{familiar}", f"docker.io/library/{familiar}"):
        return full
    try:
        return reference.parse(familiar).with_tag().full if familiar else ""
    except ClientError:  # written by another tool; the image is still found by its id
        return ""


def archived_name(entry: dict) -> str:
    """The full name in an archive's index; there containerd and new Dockers write only the tag as the familiar name."""
    return (entry.get("annotations") or {}).get(FULL_NAME) or full_name(entry)


def familiar_name(entry: dict) -> str:
    """The familiar name of a descriptor: "alpine:latest"."""
    return reference.familiar(full_name(entry))


def named(entry: dict, name: reference.Reference | None) -> dict:
    """The descriptor with another name, or None for no name. In another repository it was not pulled by any digest."""
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
    """The index with a descriptor added. Its name is removed from other images, a nameless entry from its own."""
    name = full_name(new)
    rest = without_name(entries, reference.parse(name), moved=True) if name else entries
    if not name and any(entry["digest"] == new["digest"] for entry in entries):
        return entries
    return [entry for entry in rest if entry["digest"] != new["digest"] or full_name(entry)] + [new]


def without_name(entries: list[dict], name: reference.Reference, *, moved: bool = False) -> list[dict]:
    """The index without a name; an image that had no other name stays as dangling, <none>.

    Arguments: moved (bool), another image gets the name: an image that was pulled keeps a digest reference.
    """
    rest = [entry for entry in entries if full_name(entry) != name.full]
    for entry in entries:
        if full_name(entry) == name.full and all(other["digest"] != entry["digest"] for other in rest):
            pulled = (entry.get("annotations") or {}).get(PULLED) if moved else None
            rest.append(named(entry, reference.Reference(name.domain, name.path, "", pulled) if pulled else None))
    return rest


def names_of(entries: Iterable[dict], digests: Sequence[str] | set[str]) -> list[str]:
    """The familiar names of the manifests with these digests, sorted by the full names, as in Docker."""
    by_name = {full: entry for entry in entries if entry["digest"] in digests and (full := full_name(entry))}
    return [familiar_name(by_name[full]) for full in sorted(by_name)]


def summary_of(entry: dict) -> tuple[str, str, int] | None:
    """An image's id, creation time (RFC 3339) and size (bytes); None if another tool wrote the descriptor."""
    notes = entry.get("annotations") or {}
    try:
        return notes[ID], notes[CREATED], int(notes[SIZE])
    except (KeyError, ValueError):
        return None


def digests_of(entries: Iterable[dict], digest: str) -> list[str]:
    """Docker's RepoDigests: the repositories and digests by which a manifest was pulled, "alpine@sha256:...".

    Arguments: digest (str), of the manifest.
    """
    found = []
    for entry in entries:
        pulled = (entry.get("annotations") or {}).get(PULLED)
        if entry["digest"] == digest and pulled and full_name(entry):
            found.append(f"{reference.parse(full_name(entry)).familiar_name}@{pulled}")
    return list(dict.fromkeys(found))
