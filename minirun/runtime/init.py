"""The container's process, from its first breath to the moment it becomes the user's program.

    minirun (host side)                      minirun:init (container side)
    clone3 ───────────────────────────────▶  pid 1 of the new pid namespace
           ◀─────────────── "namespaces" ──  cgroup and namespaces are its own
    plugs in the cable, at the same time:    root, pivot, rights: `become_container`, `program`
           ◀──────────────── "ready" ──────  (or an error, raised again on the host's side with its trail)
    create returns: status "created"         waits in the fifo
    start writes a byte ──────────────────▶  execve: status "running"

After the pivot the standard library is out of reach, and the image's files must not be taken for it: all that is
needed later is imported at the top of this file, and the import system is taken apart before the new root is entered.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

from minirun.errors import KernelError, MinirunError, as_minirun_error
from minirun.kernel import mounts, namespaces, process, procfs, pty, syscalls
from minirun.light import TYPE_CHECKING, struct
from minirun.runtime import process as container_process
from minirun.runtime import rootfs
from minirun.runtime.spec import namespaces as namespaces_of
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.kernel.cgroup.cgroup import Cgroup
    from minirun.kernel.socketpair import Channel


class Hands:
    """What the parent gives its child: open descriptors, and the way back.

    `.channel` to the parent; `.stdio` three descriptors or None for the inherited ones; `.console` a connected socket
    that shall get the terminal's master, or -1; `.preserve` how many descriptors from 3 on the program may keep.
    """

    __slots__ = ("channel", "console", "preserve", "stdio")

    def __init__(
        self, channel: Channel, stdio: tuple[int, int, int] | None = None, console: int = -1, preserve: int = 0
    ) -> None:
        self.channel, self.stdio, self.console, self.preserve = channel, stdio, console, preserve


def main(spec: dict, cgroup: Cgroup, hands: Hands, fifo: int) -> None:
    """Be the container's first process. Never returns into the parent's code: ends in execve, or in an exit."""
    try:
        wire(hands, [fifo])
        become_container(spec, cgroup, hands)
        file, environment = container_process.settle(spec["process"])
        report(hands, "ready")
    except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
        hands.channel.send_error(as_minirun_error(error))
        return
    wait_for_start(fifo)
    process.reset_signals()
    try:
        with step("become the program"):
            syscalls.execve(file, spec["process"]["args"], environment)
    except MinirunError as error:
        complain(error)
        os._exit(1)


def become_container(spec: dict, cgroup: Cgroup, hands: Hands) -> None:
    """Turn this process into a container: what it may use, what it sees, where its root is."""
    with step("enter the cgroup"):
        cgroup.join_v1()
    with step("leave the host's namespaces"):
        leave_namespaces(spec)
    report(hands, "namespaces")
    with step("take a name"):
        take_name(spec)
    syscalls.setsid()
    rootfs.build(spec)
    ensure_cwd(spec)
    with step("set what the spec says about this process"):
        rootfs.set_sysctls(spec)
        set_oom_score(spec["process"])
        syscalls.join_session_keyring("_ses." + os.path.basename(cgroup.path))
    forget_how_to_import()
    rootfs.enter(spec)
    if spec["process"].get("terminal"):
        with step("get a terminal"):
            take_terminal(spec["process"], hands, console_node=True)
    rootfs.close_doors(spec)


def report(hands: Hands, word: str) -> None:
    """Tell the parent how far we are. Errors: MinirunError when it has been killed, since nobody would ever start us:
    whoever clears up after it may have looked for us before we were in our cgroup."""
    if not hands.channel.send({word: os.getpid()}):
        raise MinirunError("nobody is left to start this container")


def wire(hands: Hands, keep: list[int]) -> None:
    """Put standard input, output and error in place and close what else was inherited, except for `keep`.

    What is left is closed by execve, but for the descriptors that the program shall have (`preserve`).
    """
    if hands.stdio:
        for standard, fd in enumerate(hands.stdio):
            os.dup2(fd, standard, inheritable=True)
    preserved = list(range(3, 3 + hands.preserve))
    process.close_all_but([hands.channel.fd, *([hands.console] if hands.console >= 0 else []), *keep, *preserved])
    syscalls.close_range(3 + hands.preserve, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)


def leave_namespaces(spec: dict) -> None:
    """Join the namespaces that the spec names by path, and make the others, in one call.

    The pid namespace is not among them: this process was born in it. The cgroup namespace takes the cgroup in which
    the caller is for its root, which is why the cgroup comes first.
    """
    wanted = namespaces_of(spec)
    opened = {word: namespaces.Opened(path) for word, path in wanted.items() if path and word != "pid"}
    namespaces.enter(opened)
    syscalls.unshare(namespaces.flags_of([word for word, path in wanted.items() if not path and word != "pid"]))


def take_name(spec: dict) -> None:
    """Host and domain name, in the new uts namespace."""
    if spec.get("hostname"):
        syscalls.sethostname(spec["hostname"])
    if spec.get("domainname"):
        syscalls.setdomainname(spec["domainname"])


def ensure_cwd(spec: dict) -> None:
    """Make the working directory in the new root, as Docker does, if the image does not have it."""
    cwd = os.path.normpath(spec["process"]["cwd"])
    if cwd != "/":
        root = os.open(spec["root"]["path"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(mounts.ensure_directory(root, cwd))
        except KernelError as error:
            if error.errno != errno.ENOTDIR:
                raise
            raise MinirunError(f"Cannot mkdir: {cwd} is not a directory") from None
        finally:
            os.close(root)


def set_oom_score(wanted: dict) -> None:
    """How gladly the kernel picks this process when memory runs out (proc(5), oom_score_adj)."""
    if wanted.get("oomScoreAdj") is not None:
        procfs.write("/proc/self/oom_score_adj", wanted["oomScoreAdj"])


def forget_how_to_import() -> None:
    """Take the import system apart: from here on a missing module is an error, not a file from the image."""
    # New ones instead of emptied ones: emptying would write to memory that is still shared with the parent.
    sys.path, sys.meta_path, sys.path_hooks, sys.path_importer_cache = [], [], [], {}


def take_terminal(wanted: dict, hands: Hands, *, console_node: bool) -> None:
    """Open a terminal of the container's own devpts, make it ours, and give its master to whoever asked for it.

    `console_node`: whether it shall also be /dev/console, as it is for the first process only.
    """
    master, slave = pty.open_pair("/dev/pts")
    size = wanted.get("consoleSize")
    if size:
        pty.set_size(master, size.get("height", 0), size.get("width", 0))
    syscalls.fchownat(syscalls.AT_FDCWD, slave, wanted["user"].get("uid", 0), -1)
    if console_node:
        os.close(os.open("/dev/console", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o666))
        syscalls.mount(slave, "/dev/console", "", syscalls.MS_BIND)
    _send_descriptor(hands.console, master)
    os.close(master)
    pty.become_controlled_by(slave)


def _send_descriptor(connection: int, fd: int) -> None:
    sock = _socket.socket(fileno=connection)
    sock.sendmsg([b"/dev/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))])
    sock.detach()


def wait_for_start(fifo: int) -> None:
    """Wait until `start` writes into the fifo. It was opened for reading and writing, so it never comes to an end."""
    while True:
        try:
            os.read(fifo, 1)
            return
        except InterruptedError:
            continue


def complain(error: MinirunError) -> None:
    """Say it on the container's standard error: after `start` nobody else is listening."""
    os.write(2, f"{error.message}\n".encode())
