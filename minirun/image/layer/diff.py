"""`docker diff`: what a container has changed, added and deleted (moby, pkg/archive/changes.go).

The upper directory holds more than what changed: overlayfs copies a file up when it is opened for writing, or gets
another hard link. So each entry is compared with that of the layers below. Docker compares two whole trees for the same
result; here only the upper directory is walked.

A directory is "changed" by a new mode or owner, not by a new time; and it is listed as "C" when something below it
is. What an opaque directory hides in the layers below is deleted, unless the upper directory has it again.
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
    """The differences between a container's root and that of its image.

    Arguments: upper (str), the container's upper directory; below, the layers under it, top first.
    Returns: pairs of "A" (added), "C" (changed) or "D" (deleted) and an absolute path: a directory before its
    content, what exists before what is deleted, each sorted by name. (Docker has the same order except for the names,
    which come in the order of a Go map.)
    """
    with MergedTree([upper]) as new, MergedTree(below) as old:
        yield from _Comparison(new, old).run()


class _Frame:
    """A directory that the walk is in: in the new tree, in the old one (None: not there), the names still to be
    compared, those found deleted, and whether the directory itself was reported."""

    __slots__ = ("deleted", "names", "new", "old", "opaque", "reported")

    def __init__(
        self, new: MergedDirectory, old: MergedDirectory | None, names: Iterator[bytes], opaque: bool, reported: bool
    ) -> None:
        self.new, self.old, self.names, self.opaque, self.reported = new, old, names, opaque, reported
        self.deleted: list[bytes] = []


class _Comparison:
    """A walk of both trees, side by side."""

    def __init__(self, new: MergedTree, old: MergedTree) -> None:
        self.new, self.old = new, old
        self.stack: list[_Frame] = []

    def run(self) -> Iterator[tuple[str, bytes]]:
        self._push(self.new.root, self.old.root, opaque=False, reported=True)
        while self.stack:
            frame = self.stack[-1]
            for name in frame.names:
                found = self.new.lookup_in(frame.new, name, 0)
                if not found:
                    continue
                before = self.old.lookup(frame.old, name) if frame.old else None
                if is_whiteout(found.status):
                    frame.deleted += [name] if before else []
                    continue
                differs = not before or _differ(found, before)
                if differs:
                    yield from self._report("C" if before else "A", found.parts)
                if stat.S_ISDIR(found.status.st_mode):
                    old = None
                    if frame.old and before and stat.S_ISDIR(before.status.st_mode):
                        old = self.old.child(frame.old, name)
                    opaque = frame.opaque or found.opaque
                    self._push(self.new.child(frame.new, name), old, opaque=opaque, reported=differs)
                    break
            else:
                for name in sorted(frame.deleted):
                    yield from self._report("D", (*frame.new.parts, name))
                self.stack.pop()

    def _push(self, new: MergedDirectory, old: MergedDirectory | None, *, opaque: bool, reported: bool) -> None:
        names = sorted(self.new.list(new))
        self.stack.append(_Frame(new, old, iter(names), opaque, reported))
        if opaque and old:
            present = set(names)
            self.stack[-1].deleted = [
                name for name in self.old.list(old) if name not in present and self.old.lookup(old, name)
            ]

    def _report(self, kind: str, parts: tuple[bytes, ...]) -> Iterator[tuple[str, bytes]]:
        """One change, after the directories above it that have not been reported yet."""
        unreported = []
        for frame in reversed(self.stack):
            if frame.reported:  # and so are all above it
                break
            frame.reported = True
            unreported.append(frame)
        for frame in reversed(unreported):
            yield "C", b"/" + b"/".join(frame.new.parts)
        yield kind, b"/" + b"/".join(parts)


def _differ(new: TreeEntry, old: TreeEntry) -> bool:
    one, other = new.status, old.status
    if (one.st_mode, one.st_uid, one.st_gid, one.st_rdev) != (other.st_mode, other.st_uid, other.st_gid, other.st_rdev):
        return True
    if not stat.S_ISDIR(one.st_mode) and (one.st_size != other.st_size or not _same_time(one, other)):
        return True
    return new.xattr("security.capability") != old.xattr("security.capability")


def _same_time(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two modification times are equal; one may come from a tar, which keeps whole seconds."""
    seconds, ns = divmod(one.st_mtime_ns, 1_000_000_000)
    other_seconds, other_ns = divmod(other.st_mtime_ns, 1_000_000_000)
    return seconds == other_seconds and (ns == other_ns or not ns or not other_ns)
