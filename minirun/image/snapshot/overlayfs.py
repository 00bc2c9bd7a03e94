"""A container's root: overlayfs over the image's layers (overlayfs in the kernel's documentation; Docker's overlay2).

    upper/          the container's own: what it writes (and, as whiteouts, what it deletes)
    ---------------------------------------------------------------------------------------------
    <top>-init/     placeholders: the files and directories that the runtime mounts something onto
    <top layer>     read-only, shared with every container of every image that has it
    ...
    <lowest layer>

This module does not mount: it returns an entry for the `mounts` of config.json. The runtime mounts it inside the
container's mount namespace, so the host's mount table does not change, and the kernel unmounts it when the last process
of the namespace is gone.

Docker makes an -init layer for each container. Its content depends only on the image, so here each image has one,
read-only and made once: a start takes no time for it, and `diff` and `commit` never see it.
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

#: Docker's -init layer (moby, daemon/initlayer/setup_unix.go): path, and "directory", "file" or a link's target.
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

#: mount(2) copies one page of options and ignores the rest.
_OPTIONS_MAX = 4095


def mount(layers: Sequence[str], container: str, *, volatile: bool = False) -> dict:
    """A container's overlay as an entry for the `mounts` of config.json; its directories are made if missing.

    Arguments: layers, the image's unpacked layers, lowest first; container (str), the container's directory, which
    gets upper/ and work/; volatile (bool), do not sync at unmount: for a container with --rm, which is removed then.
    Returns: {"destination": "/", "type": "overlay", "source": "overlay", "options": [...]}.
    Errors: MinirunError for an image without layers, or with more layers than fit into one mount.
    """
    ensure_directories(layers, container)
    if volatile:
        # The kernel leaves this directory and then refuses a second volatile mount, since data of the first may not
        # have been synced. A container that is restarted and will be removed anyway may be mounted again.
        rmtree.remove_tree(f"{container}/work/work/incompat")
    return {"destination": "/", "type": "overlay", "source": "overlay", "options": options(layers, container, volatile)}


def options(layers: Sequence[str], container: str, volatile: bool = False) -> list[str]:
    """The options of the overlay mount (a pure function)."""
    words = [
        "lowerdir=" + ":".join(map(escape, stack(layers, container)[1:])),
        f"upperdir={escape(f'{container}/upper')}",
        f"workdir={escape(f'{container}/work')}",
        # A kernel may have these on by default. With "index" an upper directory can be mounted with one set of
        # layers only, and not on every file system; with "metacopy" files in upper/ may lack their content, and with
        # "redirect_dir" a renamed directory leaves its content in the layers below: only the kernel can read such
        # an upper directory, neither `diff` nor `commit`.
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


def stack(layers: Sequence[str], container: str) -> list[str]:
    """All directories of a container's root from top to bottom, in the order of a lookup."""
    return [f"{container}/upper", init_layer(layers), *reversed(layers)]


def init_layer(layers: Sequence[str]) -> str:
    """The -init layer of an image: beside its top layer, whose chain id stands for all layers."""
    if not layers:
        raise MinirunError("the image has no layers")
    return f"{layers[-1]}-init"


def ensure_directories(layers: Sequence[str], container: str) -> None:
    """Make upper/, work/ and the image's -init layer if they do not exist."""
    ensure_init_layer(layers)
    try:
        os.mkdir(f"{container}/upper", 0o755)
        os.mkdir(f"{container}/work", 0o700)
        # The container sees the owner and mode of upper/ as those of its `/`.
        status = os.stat(layers[-1])
        os.chown(f"{container}/upper", status.st_uid, status.st_gid)
        os.chmod(f"{container}/upper", stat.S_IMODE(status.st_mode))
    except FileExistsError:
        store.make_directory(f"{container}/work")  # exists since the last start, unless that was interrupted
    except OSError as reason:
        raise KernelError(f"mkdir {container}/upper", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None


def ensure_init_layer(layers: Sequence[str]) -> str:
    """Make the -init layer of an image if it does not exist. Returns: its directory."""
    target = init_layer(layers)
    if os.path.isdir(target):
        return target
    new = f"{target}.new{os.getpid()}"
    try:
        _make_placeholders(list(reversed(layers)), new)
        os.rename(new, target)
    except OSError as reason:
        rmtree.remove_tree(new)
        if not os.path.isdir(target):  # otherwise another process has made it meanwhile
            raise KernelError(f"mkdir {target}", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    return target


def remove(container: str) -> None:
    """Remove upper/ and work/ of a container, whose overlay must not be mounted any more; idempotent."""
    rmtree.remove_tree(f"{container}/upper")
    rmtree.remove_tree(f"{container}/work")


def _make_placeholders(layers: Sequence[str], directory: str) -> None:
    _make_directory(layers, directory, ())
    for path, kind in PLACEHOLDERS:
        parts = tuple(os.fsencode(path).split(b"/"))
        there = lstat(layers, parts)
        if there and stat.S_ISDIR(there.st_mode):
            continue  # as in Docker, which leaves a directory even where it would make a file
        for depth in range(1, len(parts)):
            _make_directory(layers, directory, parts[:depth])
        target = f"{directory}/{path}"
        if kind == "directory":
            _make_directory((), directory, parts)
        elif kind == "file":
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755))
            os.chmod(target, 0o755)  # independent of the umask
        else:
            os.symlink(kind, target)
    for name in ("etc", "dev", "."):  # making the placeholders has changed their times
        there = lstat(layers, (name.encode(),) if name != "." else ())
        if there and stat.S_ISDIR(there.st_mode) and os.path.isdir(f"{directory}/{name}"):
            os.utime(f"{directory}/{name}", ns=(there.st_mtime_ns, there.st_mtime_ns))


def _make_directory(layers: Sequence[str], directory: str, parts: tuple[bytes, ...]) -> None:
    """Make a directory of the -init layer. It hides the image's own, so it gets the owner and mode of that.

    A symbolic link or file of the image is hidden by it, as in Docker: it could redirect a mount to another place.
    """
    path = b"/".join((os.fsencode(directory), *parts))
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    there = lstat(layers, parts)
    known = there is not None and stat.S_ISDIR(there.st_mode)
    os.chmod(path, stat.S_IMODE(there.st_mode) if known else 0o755)  # type: ignore[union-attr]
    os.chown(path, there.st_uid if known else 0, there.st_gid if known else 0)  # type: ignore[union-attr]


def lstat(layers: Sequence[str], parts: Sequence[bytes]) -> os.stat_result | None:
    """lstat(2) of a path as overlayfs would show it; None when there is nothing.

    Arguments: layers, top first; parts, the names of the path, () for the root. The layers are read-only, and each name
    is checked to be a directory before the next one is appended, so no symbolic link is followed.
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
    """Whether this is a whiteout: a character device 0:0, by which overlayfs marks a deleted name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def escape(path: str) -> str:
    """Escape a path for a mount option, in which `:` separates directories and `,` separates options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
