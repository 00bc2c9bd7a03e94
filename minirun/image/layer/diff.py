"""`docker diff`: what a container has changed, added and deleted (moby, pkg/archive/changes.go).

The upper directory has what the container touched, which is more than what it changed: overlayfs copies a file up when
it is opened for writing, or gets a second name. So each entry is held against what the layers below have there.
Docker compares two whole trees for the same answer; here only the upper directory is walked.

A directory is "changed" by a new mode or owner, not by a new time; and it is listed, as "C", wherever something below
it is. What is in an opaque directory's place in the layers below is deleted, unless it is there anew.
"""

from __future__ import annotations

import os
import stat

from minirun.image.snapshot.merged_tree import MergedDirectory, MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.image.snapshot.merged_tree import TreeEntry


def changes(upper: str, below: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """What a container's root has that its image's has not, and the other way round.

    Arguments: upper (str), what the container wrote; below, the layers under it, top first.
    Returns: pairs of "A" (added), "C" (changed) or "D" (deleted) and an absolute path: a directory before what it
    holds, what is there before what is deleted, each by name. (Docker has the same order but for the names, which
    come as a Go map hands them out.)
    """
    with MergedTree([upper]) as new, MergedTree(below) as old:
        yield from _Walk(new, old).run()


class _Way:
    """A directory that the walk is in: the level of both trees (None: no directory there in the old one), the names
    still to be looked at, and those that have been found deleted."""

    __slots__ = ("gone", "names", "new", "old", "opaque", "told")

    def __init__(
        self, new: MergedDirectory, old: MergedDirectory | None, names: Iterator[bytes], opaque: bool, told: bool
    ) -> None:
        self.new, self.old, self.names, self.opaque, self.told = new, old, names, opaque, told
        self.gone: list[bytes] = []


class _Walk:
    """Both trees, side by side."""

    def __init__(self, new: MergedTree, old: MergedTree) -> None:
        self.new, self.old = new, old
        self.ways: list[_Way] = []

    def run(self) -> Iterator[tuple[str, bytes]]:
        self._enter(self.new.top, self.old.top, opaque=False, told=True)
        while self.ways:
            way = self.ways[-1]
            for name in way.names:
                found = self.new.look(way.new, name, 0)
                if not found:
                    continue
                before = self.old.find(way.old, name) if way.old else None
                if is_whiteout(found.status):
                    way.gone += [name] if before else []
                    continue
                told = not before or _differ(found, before)
                if told:
                    yield from self._tell("C" if before else "A", found.parts)
                if stat.S_ISDIR(found.status.st_mode):
                    old = None
                    if way.old and before and stat.S_ISDIR(before.status.st_mode):
                        old = self.old.enter(way.old, name)
                    self._enter(self.new.enter(way.new, name), old, opaque=way.opaque or found.opaque, told=told)
                    break
            else:
                for name in sorted(way.gone):
                    yield from self._tell("D", (*way.new.parts, name))
                self.ways.pop()

    def _enter(self, new: MergedDirectory, old: MergedDirectory | None, *, opaque: bool, told: bool) -> None:
        names = sorted(self.new.names(new))
        self.ways.append(_Way(new, old, iter(names), opaque, told))
        if opaque and old:
            present = set(names)
            self.ways[-1].gone = [
                name for name in self.old.names(old) if name not in present and self.old.find(old, name)
            ]

    def _tell(self, kind: str, parts: tuple[bytes, ...]) -> Iterator[tuple[str, bytes]]:
        """One change, after those directories above it that have not been listed yet."""
        untold = []
        for way in reversed(self.ways):
            if way.told:  # and so are all above it
                break
            way.told = True
            untold.append(way)
        for way in reversed(untold):
            yield "C", b"/" + b"/".join(way.new.parts)
        yield kind, b"/" + b"/".join(parts)


def _differ(new: TreeEntry, old: TreeEntry) -> bool:
    one, other = new.status, old.status
    if (one.st_mode, one.st_uid, one.st_gid, one.st_rdev) != (other.st_mode, other.st_uid, other.st_gid, other.st_rdev):
        return True
    if not stat.S_ISDIR(one.st_mode) and (one.st_size != other.st_size or not _same_time(one, other)):
        return True
    return new.attribute("security.capability") != old.attribute("security.capability")


def _same_time(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two files were changed at the same time; one may have been through a tar, which keeps whole seconds."""
    seconds, ns = divmod(one.st_mtime_ns, 1_000_000_000)
    other_seconds, other_ns = divmod(other.st_mtime_ns, 1_000_000_000)
    return seconds == other_seconds and (ns == other_ns or not ns or not other_ns)
