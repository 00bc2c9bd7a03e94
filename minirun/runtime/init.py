"""The container's init process, from clone3(2) to the execve(2) of the user's program.

    minirun (host side)                      minirun:init (container side)
    clone3 ───────────────────────────────▶  pid 1 of the new pid namespace
           ◀─────────────── "namespaces" ──  its cgroup and namespaces exist
    connects the network meanwhile           root file system, pivot_root, privileges
           ◀──────────────── "ready" ──────  (or an error, raised again on the host's side with its trail)
    create returns: status "created"         waits in the exec fifo
    start writes a byte ──────────────────▶  execve: status "running"

runc has the same protocol in libcontainer/sync.go. After pivot_root the standard library is out of reach, and files of
the image must not be taken for it: all that is needed later is imported at the top of this file, and the import system
is disabled before the new root is entered.
"""

from __future__ import annotations

import errno
import os
import sys

from minirun.errors import KernelError, MinirunError, as_minirun_error
from minirun.kernel import mounts, namespaces, process, procfs, pty, syscalls
from minirun.light import TYPE_CHECKING, socket, struct
from minirun.runtime import process as container_process
from minirun.runtime import rootfs
from minirun.runtime.spec import namespaces as namespaces_of
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.kernel.cgroup.cgroup import Cgroup
    from minirun.kernel.socketpair import Channel


class InheritedFds:
    """The descriptors that a container process inherits from its parent.

    `.channel` (Channel) to the parent; `.stdio` three descriptors, or None to keep 0 to 2; `.console` (int) a connected
    Unix socket that is sent the terminal's master (runc's --console-socket), or -1; `.preserve` (int) how many
    descriptors from 3 on the program keeps (runc's --preserve-fds).
    """

    __slots__ = ("channel", "console", "preserve", "stdio")

    def __init__(
        self, channel: Channel, stdio: tuple[int, int, int] | None = None, console: int = -1, preserve: int = 0
    ) -> None:
        self.channel, self.stdio, self.console, self.preserve = channel, stdio, console, preserve


def main(spec: dict, cgroup: Cgroup, fds: InheritedFds, fifo: int) -> None:
    """Be the container's first process: ends in execve, or returns after an error for the caller to exit.

    Arguments: spec (dict), config.json; cgroup, which exists; fifo (int), the exec fifo, open for reading and writing.
    """
    try:
        setup_descriptors(fds, [fifo])
        become_container(spec, cgroup, fds)
        file, environment = container_process.prepare_exec(spec["process"])
        notify_parent(fds, "ready")
    except Exception as error:  # noqa: BLE001 (reported to the parent, not swallowed)
        fds.channel.send_error(as_minirun_error(error))
        return
    wait_for_start(fifo)
    # A signal that Python ignores (SIGPIPE) would stay ignored over execve.
    process.reset_signals()
    try:
        with step("become the program"):
            syscalls.execve(file, spec["process"]["args"], environment)
    except MinirunError as error:
        # `create` has returned, so the channel has no reader any more: the container's stderr is all there is.
        os.write(2, f"{error.message}\n".encode())
        os._exit(1)


def become_container(spec: dict, cgroup: Cgroup, fds: InheritedFds) -> None:
    """Put this process into its cgroup, namespaces and root file system, in the order that the kernel demands."""
    # The cgroup first: a new cgroup namespace takes the cgroup that its creator is in for its root.
    with step("enter the cgroup"):
        cgroup.join_v1()
    with step("leave the host's namespaces"):
        leave_namespaces(spec)
    # The parent connects the network from here on, while we build the root file system.
    notify_parent(fds, "namespaces")
    with step("take a name"):
        set_hostname(spec)
    # Needed for a controlling terminal (TIOCSCTTY wants a session leader), and away from the caller's job control.
    syscalls.setsid()
    rootfs.build(spec)
    ensure_cwd(spec)
    # While the host's /proc is still in sight and we have the host's privileges: lowering oom_score_adj needs
    # CAP_SYS_RESOURCE, and the container's own /proc/sys may be masked or read-only soon.
    with step("set what the spec says about this process"):
        rootfs.set_sysctls(spec)
        set_oom_score(spec["process"])
        # The caller's keys would be possessed by the container's root otherwise; the name is runc's.
        syscalls.join_session_keyring("_ses." + os.path.basename(cgroup.path))
    disable_imports()
    rootfs.pivot(spec)
    # After the pivot, because the slave's name must be that of the container's devpts.
    if spec["process"].get("terminal"):
        with step("get a terminal"):
            open_terminal(spec["process"], fds, console_node=True)
    # After everything that writes to /proc or makes device nodes.
    rootfs.restrict_paths(spec)


def notify_parent(fds: InheritedFds, stage: str) -> None:
    """Tell the parent that a stage is reached.

    Errors: MinirunError when the parent has been killed. Then nothing would ever start this process, and the clean-up
    after the parent may have looked for processes before this one was in its cgroup: it must end by itself.
    """
    if not fds.channel.send({stage: os.getpid()}):
        raise MinirunError("nobody is left to start this container")


def setup_descriptors(fds: InheritedFds, keep: list[int]) -> None:
    """Put standard input, output and error in place and close what else was inherited, except for `keep` (list of int).

    A leaked descriptor of a host directory is a way out of the container, by /proc/self/fd/N as working directory or
    as the program's path (CVE-2024-21626 in runc). So all are closed here that are not needed, and execve closes the
    rest, but for those that the program shall have (`preserve`).
    """
    if fds.stdio:
        for standard, fd in enumerate(fds.stdio):
            os.dup2(fd, standard, inheritable=True)
    preserved = list(range(3, 3 + fds.preserve))
    process.close_all_but([fds.channel.fd, *([fds.console] if fds.console >= 0 else []), *keep, *preserved])
    syscalls.close_range(3 + fds.preserve, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)


def leave_namespaces(spec: dict) -> None:
    """Join the namespaces that the spec names by path, and make new ones for the others in one unshare(2)."""
    wanted = namespaces_of(spec)
    # No pid namespace here: this process was born in it, since unshare and setns move only future children.
    opened = {word: namespaces.Namespace(path) for word, path in wanted.items() if path and word != "pid"}
    # Join before unshare: a path under /proc or /run/netns resolves in the mount namespace that is left here.
    namespaces.enter(opened)
    syscalls.unshare(namespaces.flags_of([word for word, path in wanted.items() if not path and word != "pid"]))


def set_hostname(spec: dict) -> None:
    """Set host and domain name, in the new uts namespace (uts_namespaces(7))."""
    if spec.get("hostname"):
        syscalls.sethostname(spec["hostname"])
    if spec.get("domainname"):
        syscalls.setdomainname(spec["domainname"])


def ensure_cwd(spec: dict) -> None:
    """Make the working directory in the new root if the image does not have it, as Docker does."""
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


def set_oom_score(process_spec: dict) -> None:
    """Set how readily the kernel kills this process when memory runs out (proc(5), oom_score_adj, -1000 to 1000)."""
    if process_spec.get("oomScoreAdj") is not None:
        procfs.write("/proc/self/oom_score_adj", process_spec["oomScoreAdj"])


def disable_imports() -> None:
    """Disable the import system: from here on a missing module is an error, not a file of the image that is run."""
    # New objects, not emptied ones: emptying would write to pages that are still shared with the parent.
    sys.path, sys.meta_path, sys.path_hooks, sys.path_importer_cache = [], [], [], {}


def open_terminal(process_spec: dict, fds: InheritedFds, *, console_node: bool) -> None:
    """Open a terminal of the container's own devpts, make it our controlling terminal, and hand its master out.

    Arguments: console_node (bool), whether it also becomes /dev/console, as it does for the first process only.
    """
    master, slave = pty.open_pair("/dev/pts")
    size = process_spec.get("consoleSize")
    if size:
        pty.set_size(master, size.get("height", 0), size.get("width", 0))
    # A program that runs as another user must be able to open its terminal again by name.
    syscalls.fchownat(syscalls.AT_FDCWD, slave, process_spec["user"].get("uid", 0), -1)
    if console_node:
        # O_NOFOLLOW: an image may have made /dev/console a link, and the bind mount would follow it.
        os.close(os.open("/dev/console", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o666))
        syscalls.mount(slave, "/dev/console", "", syscalls.MS_BIND)
    _send_descriptor(fds.console, master)
    # A terminal hangs up when the last descriptor of its master is closed: that must be the receiver's.
    os.close(master)
    pty.set_controlling_terminal(slave)


def _send_descriptor(connection: int, fd: int) -> None:
    """Send a descriptor over a Unix socket (unix(7), SCM_RIGHTS), in the form that runc's --console-socket has."""
    sock = socket.socket(fileno=connection)
    sock.sendmsg([b"/dev/ptmx"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))])
    sock.detach()


def wait_for_start(fifo: int) -> None:
    """Wait until `start` writes into the exec fifo."""
    # It is open for reading and writing, so there is always a writer and read(2) never returns end of file (fifo(7)).
    while True:
        try:
            os.read(fifo, 1)
            return
        except InterruptedError:
            continue
