"""A container's root: overlayfs over the image's layers (overlayfs in the kernel's documentation; Docker's overlay2).

    upper/          the container's own: what it writes (and, as whiteouts, what it deletes)
    ---------------------------------------------------------------------------------------------
    <top>-init/     placeholders: what the runtime mounts something onto has to exist
    <top layer>     read-only, shared with every container of every image that has it
    ...
    <lowest layer>

Only words are made here: an entry for the `mounts` of config.json. The runtime mounts it inside the container's own
mount namespace, so the host's mount table stays as it is, and the kernel unmounts it when the last process leaves.

Docker puts the placeholders into an extra layer for each *container*. They depend on the image alone, so here they are
one read-only layer for each image, made once: a start pays nothing for them, and `diff` and `commit` never see them.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import rmtree, store
from minirun.errors import KernelError, MinirunError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OPAQUE = "trusted.overlay.opaque"

#: What Docker's -init layer holds (moby, daemon/initlayer/setup_unix.go): path, and what is to be there.
PLACEHOLDERS = (
    ("dev/pts", "directory"),
    ("dev/shm", "directory"),
    ("proc", "directory"),
    ("sys", "directory"),
    (".dockerenv", "file"),
    ("etc/resolv.conf", "file"),
    ("etc/hosts", "file"),
    ("etc/hostname", "file"),
    ("dev/console", "file"),
    ("etc/mtab", "/proc/mounts"),
)

#: mount(2) copies one page of options and ignores what is behind it.
_OPTIONS_MAX = 4095


def mount(layers: Sequence[str], container: str, *, volatile: bool = False) -> dict:
    """The overlay of a container as an entry for the `mounts` of config.json; its directories are made if missing.

    Arguments: layers, the image's unpacked layers, lowest first; container (str), the container's directory, which
    gets upper/ and work/; volatile (bool), do not sync when it is unmounted: right for what will be removed then.
    Returns: {"destination": "/", "type": "overlay", "source": "overlay", "options": [...]}.
    Errors: MinirunError for an image without layers, or with more than one mount takes.
    """
    ensure_directories(layers, container)
    if volatile:
        # The kernel leaves this mark and refuses a second volatile mount of what may have been cut off unsynced; a
        # restarted container that is to be removed anyway may be mounted again.
        rmtree.remove_tree(f"{container}/work/work/incompat")
    return {"destination": "/", "type": "overlay", "source": "overlay", "options": options(layers, container, volatile)}


def options(layers: Sequence[str], container: str, volatile: bool = False) -> list[str]:
    """The options of the overlay mount (pure words)."""
    words = [
        "lowerdir=" + ":".join(map(escaped, pile(layers, container)[1:])),
        f"upperdir={escaped(f'{container}/upper')}",
        f"workdir={escaped(f'{container}/work')}",
        # A kernel may have these on by default. With an index, an upper directory can be used with one set of
        # layers only, and some file systems cannot have one; metacopy would have files in upper/ without their
        # content, which no other program could read; and a directory that was moved would leave its content in
        # the layers below, under a name that only the kernel could follow.
        "index=off",
        "metacopy=off",
        "redirect_dir=off",
    ]
    if volatile:
        words.append("volatile")
    if len(",".join(words).encode()) > _OPTIONS_MAX:
        raise MinirunError(
            f"the image has {len(layers)} layers, whose paths do not fit into one mount",
            hint="move the data root to a shorter path with --root",
        )
    return words


def pile(layers: Sequence[str], container: str) -> list[str]:
    """All directories of a container's root from top to bottom, the way a look-up goes through them."""
    return [f"{container}/upper", init_layer(layers), *reversed(layers)]


def init_layer(layers: Sequence[str]) -> str:
    """Where the placeholders of an image are: beside its top layer, whose name stands for all layers."""
    if not layers:
        raise MinirunError("the image has no layers")
    return f"{layers[-1]}-init"


def ensure_directories(layers: Sequence[str], container: str) -> None:
    """Make upper/, work/ and the image's placeholders; fine when they are there."""
    ensure_init_layer(layers)
    try:
        os.mkdir(f"{container}/upper", 0o755)
        os.mkdir(f"{container}/work", 0o700)
        # The container sees the owner and mode of upper/ as those of its `/`.
        looks = os.stat(layers[-1])
        os.chown(f"{container}/upper", looks.st_uid, looks.st_gid)
        os.chmod(f"{container}/upper", stat.S_IMODE(looks.st_mode))
    except FileExistsError:
        store.make_directory(f"{container}/work")  # there since the last start, unless that was cut short
    except OSError as reason:
        raise KernelError(f"mkdir {container}/upper", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None


def ensure_init_layer(layers: Sequence[str]) -> str:
    """Make the read-only layer of placeholders for an image; fine when it is there. Returns: its directory."""
    target = init_layer(layers)
    if os.path.isdir(target):
        return target
    new = f"{target}.new{os.getpid()}"
    try:
        _make_placeholders(list(reversed(layers)), new)
        os.rename(new, target)
    except OSError as reason:
        rmtree.remove_tree(new)
        if not os.path.isdir(target):  # else another start was quicker
            raise KernelError(f"mkdir {target}", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    return target


def remove(container: str) -> None:
    """Remove what a container wrote; fine when it is gone. It must not be mounted any more."""
    rmtree.remove_tree(f"{container}/upper")
    rmtree.remove_tree(f"{container}/work")


def _make_placeholders(layers: Sequence[str], directory: str) -> None:
    _make_directory(layers, directory, ())
    for path, kind in PLACEHOLDERS:
        parts = tuple(os.fsencode(path).split(b"/"))
        there = status(layers, parts)
        if there and stat.S_ISDIR(there.st_mode):
            continue  # good as it is; Docker too leaves a directory alone even where it wants a file
        for depth in range(1, len(parts)):
            _make_directory(layers, directory, parts[:depth])
        target = f"{directory}/{path}"
        if kind == "directory":
            _make_directory((), directory, parts)
        elif kind == "file":
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755))
            os.chmod(target, 0o755)  # whatever our umask is
        else:
            os.symlink(kind, target)
    for name in ("etc", "dev", "."):  # filling them changed their times
        there = status(layers, (name.encode(),) if name != "." else ())
        if there and stat.S_ISDIR(there.st_mode) and os.path.isdir(f"{directory}/{name}"):
            os.utime(f"{directory}/{name}", ns=(there.st_mtime_ns, there.st_mtime_ns))


def _make_directory(layers: Sequence[str], directory: str, parts: tuple[bytes, ...]) -> None:
    """A directory in the -init layer; it hides the looks of the image's own, so it takes them over.

    If the image has a symbolic link or a file there, it gives way, as with Docker: nothing may lead a mount astray.
    """
    path = b"/".join((os.fsencode(directory), *parts))
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    there = status(layers, parts)
    known = there is not None and stat.S_ISDIR(there.st_mode)
    os.chmod(path, stat.S_IMODE(there.st_mode) if known else 0o755)  # type: ignore[union-attr]
    os.chown(path, there.st_uid if known else 0, there.st_gid if known else 0)  # type: ignore[union-attr]


def status(layers: Sequence[str], parts: Sequence[bytes]) -> os.stat_result | None:
    """What overlayfs would show at a path, links not followed: its lstat(2), or None when there is nothing.

    Arguments: layers, top first; parts, the path taken apart, () for the root. The layers are read-only, and every
    directory on the way is looked at before the next step, so no link is passed.
    """
    for layer in layers:
        path, opaque = os.fsencode(layer), False
        try:
            found: os.stat_result | None = os.stat(path)
            for depth, part in enumerate(parts, 1):
                path += b"/" + part
                found = os.lstat(path)
                if is_whiteout(found):
                    return None
                if not stat.S_ISDIR(found.st_mode):
                    return found if depth == len(parts) else None
                opaque = opaque or _is_opaque(path)
        except OSError as reason:
            if reason.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            found = None
        if found or opaque:
            return found
    return None


def is_whiteout(found: os.stat_result) -> bool:
    """True for a character device 0:0, by which overlayfs means "deleted"."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def escaped(path: str) -> str:
    """A path fit for a mount option, in which `:` parts directories and `,` parts options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
