"""System calls: one function for each, with its man page's name and argument order.

The first of the four doors to the kernel. A call that changes something reports the equal shell line (`trace.tell`), is
repeated when a signal interrupts it (EINTR), and turns every errno into a `KernelError` with the call, its arguments
and, where the errno alone is misleading, a hint. This is the only module that imports cffi and prctl.
"""

from __future__ import annotations

import errno
import os
import sys

import _prctl  # type: ignore[import-not-found]  # python-prctl's C half: the other takes 0.7 ms to load

from minirun.errors import ROOT_HINT, KernelError
from minirun.kernel._linux import ffi, lib
from minirun.trace import quoted, tell

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = lib.CLONE_NEWNS, lib.CLONE_NEWCGROUP, lib.CLONE_NEWUTS
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = lib.CLONE_NEWIPC, lib.CLONE_NEWUSER, lib.CLONE_NEWPID
CLONE_NEWNET = lib.CLONE_NEWNET

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = lib.MS_RDONLY, lib.MS_NOSUID, lib.MS_NODEV, lib.MS_NOEXEC
MS_SYNCHRONOUS, MS_REMOUNT = lib.MS_SYNCHRONOUS, lib.MS_REMOUNT
MS_MANDLOCK, MS_DIRSYNC = lib.MS_MANDLOCK, lib.MS_DIRSYNC
MS_NOATIME, MS_NODIRATIME, MS_RELATIME = lib.MS_NOATIME, lib.MS_NODIRATIME, lib.MS_RELATIME
MS_STRICTATIME, MS_LAZYTIME, MS_SILENT = lib.MS_STRICTATIME, lib.MS_LAZYTIME, lib.MS_SILENT
MS_BIND, MS_MOVE, MS_REC = lib.MS_BIND, lib.MS_MOVE, lib.MS_REC
MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE = lib.MS_PRIVATE, lib.MS_SLAVE, lib.MS_SHARED, lib.MS_UNBINDABLE
MNT_DETACH = lib.MNT_DETACH

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS = lib.RESOLVE_NO_XDEV, lib.RESOLVE_NO_MAGICLINKS
RESOLVE_NO_SYMLINKS = lib.RESOLVE_NO_SYMLINKS
RESOLVE_BENEATH, RESOLVE_IN_ROOT = lib.RESOLVE_BENEATH, lib.RESOLVE_IN_ROOT
AT_FDCWD, AT_EMPTY_PATH, CLOSE_RANGE_CLOEXEC = lib.AT_FDCWD, lib.AT_EMPTY_PATH, lib.CLOSE_RANGE_CLOEXEC

# openat2 came with 5.6, close_range with 5.9, its CLOSE_RANGE_CLOEXEC with 5.11.
KERNEL_HINT = "minirun needs Linux 5.11 or newer"

#: What an errno of a call most often means, where strerror(3) misleads.
HINTS = {
    # EINVAL has six causes in the man page; these two are the ones that every new runtime meets.
    ("pivot_root", errno.EINVAL): "the new root must be a mount point, and neither it nor its parent may be shared",
    ("pivot_root", errno.EBUSY): "the new root is the present root, or is on the same mount",
    ("mount", errno.ENOSPC): "this is the limit on mounts, not the disk: see /proc/sys/fs/mount-max",
    ("mount", errno.ENODEV): "the kernel does not have this file system: see /proc/filesystems",
    ("mount", errno.EINVAL): "the kernel's log (dmesg) often has the reason",
    ("unshare", errno.ENOSPC): "a limit on namespaces is reached: see /proc/sys/user/",
    ("unshare", errno.EINVAL): "the kernel was built without one of these namespaces",
    ("clone3", errno.ENOSYS): KERNEL_HINT,
    ("openat2", errno.ENOSYS): KERNEL_HINT,
    ("close_range", errno.ENOSYS): KERNEL_HINT,
    ("close_range", errno.EINVAL): KERNEL_HINT,
    ("openat2", errno.EXDEV): "the path leads out of the directory that it must stay in",
    ("openat2", errno.ELOOP): "there is a symbolic link where none may be",
    ("clone3", errno.EAGAIN): "a limit on processes is reached: see pids.max of this cgroup and `ulimit -u`",
}


def failure(call: str, subject: str, reason: int) -> KernelError:
    """The error for a failed call, with a hint if there is one.

    Arguments: call (str), its name; subject (str), its arguments as a person would give them; reason (int), the errno.
    """
    hint = HINTS.get((call, reason), "")
    if not hint and reason == errno.EPERM and os.geteuid() != 0:
        hint = ROOT_HINT
    return KernelError(f"{call} {subject}".rstrip(), reason, hint=hint)


def _call(function: object, subject: str, *arguments: object) -> int:
    """Call a function of the C module. Errors: KernelError with `subject`."""
    while True:
        result = function(*arguments)  # type: ignore[operator]
        if result >= 0:
            return result
        # Python repeats its own calls after a signal (PEP 475), not those of a C module.
        if ffi.errno != errno.EINTR:
            raise failure(function.__name__, subject, ffi.errno)  # type: ignore[attr-defined]


# ---- namespaces ------------------------------------------------------------------------------------------------

_NAMESPACE_FLAGS = (
    ("mount", CLONE_NEWNS),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("net", CLONE_NEWNET),
    ("pid", CLONE_NEWPID),
    ("cgroup", CLONE_NEWCGROUP),
    ("user", CLONE_NEWUSER),
)


def namespace_words(flags: int) -> str:
    """The long options of unshare(1) and nsenter(1) for CLONE_NEW* flags: "--mount --net"."""
    return " ".join(f"--{word}" for word, flag in _NAMESPACE_FLAGS if flags & flag)


def unshare(flags: int) -> None:
    """unshare(2): move into new namespaces, one for each CLONE_NEW* of `flags`.

    CLONE_NEWPID is different: the caller stays in its pid namespace, and its *next child* is pid 1 of the new one.
    """
    tell("unshare(2)", lambda bits: f"unshare {namespace_words(bits)}", flags)
    _call(lib.unshare, namespace_words(flags), flags)


def setns(fd: int, nstype: int, path: str = "") -> None:
    """setns(2): enter the namespace that the open file `fd` (/proc/PID/ns/...) stands for; `nstype` is its CLONE_NEW*.

    Arguments: path (str), what was opened, for `trace`: the descriptor itself only remembers "net:[4026531840]".
    """
    # The type is checked by the kernel, so a path that leads to a namespace of another kind is an error (EINVAL).
    tell("setns(2)", lambda *_: f"nsenter {namespace_words(nstype)}={path or path_of(fd)}")
    _call(lib.setns, namespace_words(nstype), fd, nstype)


def clone3(flags: int, cgroup: int = -1) -> int:
    """clone3(2) without CLONE_VM: fork(2) into new namespaces and another cgroup.

    Arguments: flags (int), CLONE_NEW* for the child; cgroup (int), open directory of the cgroup v2 in which the child
    begins its life, or -1 for the caller's. Returns: the child's pid in the parent, 0 in the child.
    """
    tell(
        "clone3(2)",
        lambda *_: (
            f"unshare {namespace_words(flags)} --fork".replace("  ", " ")
            + (f"   # in cgroup {path_of(cgroup)}" if cgroup >= 0 else "")
        ),
    )
    # What is still in the buffer would be written twice, by parent and child.
    sys.stdout.flush()
    return _call(lib.clone3, namespace_words(flags), flags, cgroup)


# ---- mounts ----------------------------------------------------------------------------------------------------

_PROPAGATION = ((MS_SHARED, "shared"), (MS_SLAVE, "slave"), (MS_PRIVATE, "private"), (MS_UNBINDABLE, "unbindable"))
_OPTION_WORDS = (
    (MS_RDONLY, "ro"),
    (MS_NOSUID, "nosuid"),
    (MS_NODEV, "nodev"),
    (MS_NOEXEC, "noexec"),
    (MS_SYNCHRONOUS, "sync"),
    (MS_DIRSYNC, "dirsync"),
    (MS_NOATIME, "noatime"),
    (MS_MANDLOCK, "mand"),
    (MS_NODIRATIME, "nodiratime"),
    (MS_RELATIME, "relatime"),
    (MS_STRICTATIME, "strictatime"),
)


def _mount_line(source: str, target: str, filesystemtype: str, mountflags: int, data: str) -> str:
    target = shell_path(target)
    data = quoted(data) if data else ""
    for flag, word in _PROPAGATION:
        if mountflags & flag:
            return f"mount --make-{'r' if mountflags & MS_REC else ''}{word} {target}"
    words = [word for flag, word in _OPTION_WORDS if mountflags & flag] + ([data] if data else [])
    if mountflags & MS_REMOUNT:
        words = ["remount", *(["bind"] if mountflags & MS_BIND else []), *words]
        return f"mount -o {','.join(words)} {target}"
    options = f" -o {','.join(words)}" if words else ""
    if mountflags & MS_BIND:
        return f"mount --{'r' if mountflags & MS_REC else ''}bind{options} {shell_path(source)} {target}"
    return f"mount -t {filesystemtype}{options} {quoted(source)} {target}"


def mount(source: str, target: str, filesystemtype: str, mountflags: int, data: str = "") -> None:
    """mount(2): mount, bind, remount or change the propagation of `target`, as `mountflags` (MS_*) say."""
    tell("mount(2)", _mount_line, source, target, filesystemtype, mountflags, data)
    # The subject is worked out only when the call fails: it reads a link in /proc.
    try:
        _call(
            lib.mount,
            "",
            os.fsencode(source),
            os.fsencode(target),
            filesystemtype.encode(),
            mountflags,
            os.fsencode(data),
        )
    except KernelError as error:
        subject = f"{filesystemtype or source} on {shell_path(target)}"
        raise failure("mount", f"{subject} ({data})" if data else subject, error.errno) from None


def umount2(target: str, flags: int) -> None:
    """umount2(2): unmount `target`; with MNT_DETACH it is only detached, and unmounted once unused."""
    tell("umount2(2)", lambda *_: f"umount {'--lazy ' if flags & MNT_DETACH else ''}{shell_path(target)}")
    _call(lib.umount2, target, os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): make `new_root` the root mount of this mount namespace; the old root appears at `put_old`."""
    tell("pivot_root(2)", "pivot_root {} {}", new_root, put_old)
    _call(lib.pivot_root, new_root, os.fsencode(new_root), os.fsencode(put_old))


# ---- files -----------------------------------------------------------------------------------------------------


def openat2(dirfd: int, pathname: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): open `pathname` below `dirfd`; `resolve` (RESOLVE_*) says how far names and links may lead.

    Returns: the new descriptor (int), close-on-exec.
    """
    # O_CLOEXEC always: a descriptor of the host that survives execve is a way out of the container.
    return _call(lib.openat2, pathname, dirfd, os.fsencode(pathname), flags | os.O_CLOEXEC, mode, resolve)


def mkdirat(dirfd: int, pathname: str, mode: int) -> None:
    """mkdirat(2): make a directory. `dirfd` is an open directory, or AT_FDCWD."""
    tell("mkdirat(2)", lambda *_: f"mkdir -m {mode:o} {below(dirfd, pathname)}")
    try:
        os.mkdir(pathname, mode, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as reason:
        raise failure("mkdir", pathname, reason.errno or 0) from None


def rmdir(pathname: str) -> None:
    """rmdir(2): remove an empty directory; a cgroup is empty when it has no processes and no child cgroups."""
    tell("rmdir(2)", "rmdir {}", quoted(pathname))
    try:
        os.rmdir(pathname)
    except OSError as reason:
        raise failure("rmdir", pathname, reason.errno or 0) from None


def mknodat(dirfd: int, pathname: str, mode: int, dev: int) -> None:
    """mknodat(2): make a device node or fifo; `mode` (int) is type (S_IFCHR ...) and permissions, less the umask."""
    tell("mknodat(2)", _mknod_line, dirfd, pathname, mode, dev)
    try:
        os.mknod(pathname, mode, dev, dir_fd=dirfd)
    except OSError as reason:
        raise failure("mknod", pathname, reason.errno or 0) from None


def _mknod_line(dirfd: int, pathname: str, mode: int, dev: int) -> str:
    kind = {0o020000: "c", 0o060000: "b", 0o010000: "p"}.get(mode & 0o170000, "?")
    numbers = "" if kind == "p" else f" {os.major(dev)} {os.minor(dev)}"
    return f"mknod -m {mode & 0o7777:o} {below(dirfd, pathname)} {kind}{numbers}"


def symlinkat(target: str, dirfd: int, linkpath: str) -> None:
    """symlinkat(2): make `linkpath`, below the open directory `dirfd`, a symbolic link to `target`."""
    tell("symlinkat(2)", lambda *_: f"ln -s {quoted(target)} {below(dirfd, linkpath)}")
    try:
        # The target is only a text here: it is resolved by the container, in its own root.
        os.symlink(target, linkpath, dir_fd=dirfd)
    except OSError as reason:
        raise failure("symlink", linkpath, reason.errno or 0) from None


def mkfifo(pathname: str, mode: int) -> None:
    """mkfifo(3): make a named pipe (fifo(7))."""
    tell("mknodat(2)", "mkfifo -m {1:o} {0}", quoted(pathname), mode)
    try:
        os.mkfifo(pathname, mode)
    except OSError as reason:
        raise failure("mkfifo", pathname, reason.errno or 0) from None


def fchownat(dirfd: int, pathname: str, owner: int, group: int) -> None:
    """fchownat(2): change owner and group of a file; -1 keeps one."""
    tell(
        "fchownat(2)",
        lambda *_: f"chown {owner if owner >= 0 else ''}{f':{group}' if group >= 0 else ''} " + below(dirfd, pathname),
    )
    try:
        os.chown(pathname, owner, group, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as reason:
        raise failure("chown", pathname, reason.errno or 0) from None


def chdir(path: str) -> None:
    """chdir(2): change the working directory."""
    tell("chdir(2)", "cd {}", quoted(path))
    try:
        os.chdir(path)
    except OSError as reason:
        raise failure("chdir", path, reason.errno or 0) from None


def close_range(first: int, last: int, flags: int = 0) -> None:
    """close_range(2): close the descriptors `first` to `last`; with CLOSE_RANGE_CLOEXEC, execve closes them."""
    _call(lib.close_range, f"{first}-{last}", first, last, flags)


def path_of(fd: int) -> str:
    """The path of an open descriptor, as /proc shows it (proc(5), /proc/PID/fd)."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"/proc/self/fd/{fd}"


def shell_path(path: str) -> str:
    """A path for a shell line: the descriptor's own path instead of /proc/self/fd/7, which a shell does not have."""
    head, _, number = path.rpartition("/")
    return quoted(path_of(int(number)) if head == "/proc/self/fd" and number.isdigit() else path)


def below(dirfd: int, pathname: str) -> str:
    """The path of `pathname` in the open directory `dirfd`, for a shell line."""
    whole = dirfd == AT_FDCWD or pathname.startswith("/")
    return quoted(pathname if whole else f"{path_of(dirfd)}/{pathname}")


# ---- uts ------------------------------------------------------------------------------------------------------


def sethostname(name: str) -> None:
    """sethostname(2): set the host name of this uts namespace."""
    tell("sethostname(2)", "hostname {}", quoted(name))
    # The length in bytes, not in characters: the kernel takes no terminating zero.
    _call(lib.sethostname, name, name.encode(), len(name.encode()))


def setdomainname(name: str) -> None:
    """setdomainname(2): set the NIS domain name of this uts namespace."""
    tell("setdomainname(2)", "domainname {}", quoted(name))
    _call(lib.setdomainname, name, name.encode(), len(name.encode()))


# ---- privileges ------------------------------------------------------------------------------------------------


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2): set three capability sets of this thread, each an int with bit N for capability N."""
    tell(
        "capset(2)",
        "capsh --eff={:#x} --prm={:#x} --inh={:#x}   # capset has no exact twin in the shell",
        effective,
        permitted,
        inheritable,
    )
    # Version 3 of the interface, two 32-bit words for each set (capget(2)); the C side splits them.
    _call(lib.capset, "", effective, permitted, inheritable)


def cap_ambient_raise(capability: int) -> None:
    """prctl(2) PR_CAP_AMBIENT_RAISE: add to the ambient set, which a user other than root keeps over execve."""
    tell("prctl(2)", "setpriv --ambient-caps +cap_{}", capability)
    _call(lib.cap_ambient_raise, str(capability), capability)


def cap_ambient_clear() -> None:
    """prctl(2) PR_CAP_AMBIENT_CLEAR_ALL: empty the ambient set."""
    tell("prctl(2)", "setpriv --ambient-caps -all")
    _call(lib.cap_ambient_clear, "")


def prctl(option: str, *arguments: object, shell: str = "") -> None:
    """prctl(2): change a setting of this process.

    Arguments: option (str), its name without PR_, "SET_NO_NEW_PRIVS"; arguments, its own; shell (str), the equal shell
    line, where it does not follow from these.
    """
    tell("prctl(2)", _prctl_line, option, shell, *arguments)
    try:
        _prctl.prctl(getattr(_prctl, f"PR_{option}"), *arguments)
    except (OSError, ValueError) as reason:
        raise failure("prctl", f"PR_{option}", getattr(reason, "errno", None) or errno.EINVAL) from None


def _prctl_line(option: str, shell: str, *arguments: object) -> str:
    words = " ".join(map(str, arguments))
    lines = {"SET_NO_NEW_PRIVS": "setpriv --no-new-privs", "SET_NAME": f"echo {words} > /proc/self/comm"}
    return shell or lines.get(option, f"prctl PR_{option} {words}")


def setgroups(groups: list[int]) -> None:
    """setgroups(2): set the supplementary groups."""
    tell(
        "setgroups(2)",
        lambda *_: f"setpriv --groups={','.join(map(str, groups))}" if groups else "setpriv --clear-groups",
    )
    _set_credentials(os.setgroups, "setgroups", groups)


def setresgid(gid: int) -> None:
    """setresgid(2): set the real, effective and saved group ID."""
    tell("setresgid(2)", "setpriv --regid {}", gid)
    _set_credentials(os.setresgid, "setresgid", gid, gid, gid)


def setresuid(uid: int) -> None:
    """setresuid(2): set the real, effective and saved user ID; without a saved 0 there is no way back to root."""
    tell("setresuid(2)", "setpriv --reuid {}", uid)
    _set_credentials(os.setresuid, "setresuid", uid, uid, uid)


def _set_credentials(function: object, name: str, *arguments: object) -> None:
    try:
        function(*arguments)  # type: ignore[operator]
    except OSError as reason:
        raise failure(name, str(arguments[0]), reason.errno or 0) from None


# ---- processes -------------------------------------------------------------------------------------------------

#: The resource limits in the order of their numbers (asm-generic/resource.h), by their names in prlimit(1).
RESOURCES = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime".split()
RLIM_INFINITY = 2**64 - 1


def prlimit(kind: str, soft: int, hard: int) -> None:
    """prlimit(2): set a resource limit of this process: kind (str), "nofile"; soft, hard (int), or RLIM_INFINITY."""
    tell("prlimit(2)", lambda *_: f"prlimit --{kind}={_limit_word(soft)}:{_limit_word(hard)}")
    # An unknown name of the spec is an error, not a limit that is silently left out.
    if kind not in RESOURCES:
        raise failure("prlimit", kind, errno.EINVAL)
    _call(lib.prlimit, f"{kind} {_limit_word(soft)}:{_limit_word(hard)}", 0, RESOURCES.index(kind), soft, hard)


def _limit_word(value: int) -> str:
    return "unlimited" if value == RLIM_INFINITY else str(value)


def umask(mask: int) -> None:
    """umask(2): set the permission bits that new files do not get."""
    tell("umask(2)", "umask {:04o}", mask)
    os.umask(mask)


def execve(pathname: str, argv: list[str], envp: dict[str, str]) -> None:
    """execve(2): execute a program in this process. Does not return. Errors: KernelError."""
    tell("execve(2)", lambda *_: "exec " + " ".join(map(quoted, argv)))
    try:
        os.execve(pathname, argv, envp)
    except OSError as reason:
        raise failure("exec", pathname, reason.errno or 0) from None


def pidfd_open(pid: int, flags: int = 0) -> int:
    """pidfd_open(2): open a process: the descriptor never refers to a later one with the same pid.

    Returns: the descriptor (int); it becomes readable when the process ends.
    """
    return _call(lib.pidfd_open, str(pid), pid, flags)


def pidfd_send_signal(pidfd: int, sig: int) -> None:
    """pidfd_send_signal(2): send signal `sig` (int) to the process of `pidfd`."""
    tell("pidfd_send_signal(2)", lambda *_: f"kill -{sig} {_pid_of(pidfd)}")
    # No siginfo: the kernel fills in that of kill(2).
    _call(lib.pidfd_send_signal, str(sig), pidfd, sig, ffi.NULL, 0)


def _pid_of(pidfd: int) -> str:
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next((line.split()[1] for line in file if line.startswith("Pid:")), "?")


def set_controlling_terminal(fd: int) -> None:
    """ioctl_tty(2) TIOCSCTTY: make `fd` the controlling terminal of the session that the caller leads."""
    tell("ioctl(2)", "setsid --ctty   # {}", fd)
    # With argument 0: a terminal that another session controls is not stolen (EPERM), not even by root.
    _call(lib.set_controlling_terminal, path_of(fd), fd)


def attach_device_program(instructions: bytes, cgroup: int) -> None:
    """bpf(2): load an eBPF program that decides which devices the processes of a cgroup v2 may use, and attach it.

    Arguments: instructions (bytes), eight bytes each; cgroup (int), the open directory of the cgroup.
    """
    tell(
        "bpf(2)",
        lambda *_: (
            f"bpftool cgroup attach {path_of(cgroup)} cgroup_device id ...   "
            f"# a program of {len(instructions) // 8} instructions"
        ),
    )
    # The kernel's verifier reads the program now: it is refused here (EINVAL, EACCES), never at run time.
    program = _call(lib.bpf_load_device_program, "BPF_PROG_LOAD", instructions, len(instructions) // 8)
    try:
        _call(lib.bpf_attach_device_program, f"BPF_PROG_ATTACH to {path_of(cgroup)}", program, cgroup)
    finally:
        os.close(program)  # the cgroup holds a reference of its own


def setsid() -> None:
    """setsid(2): start a new session without a controlling terminal; no error when the caller leads one already."""
    tell("setsid(2)", "setsid")
    try:
        os.setsid()
    except PermissionError:
        return


def join_session_keyring(name: str) -> None:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: replace the inherited session keyring by a new, empty one."""
    # Keys belong to no namespace (session-keyring(7)): without this the container's root would possess the keys of the
    # user who started it. ENOSYS and EPERM: a kernel without keys, or a host that forbids keyctl, has none to protect.
    tell("keyctl(2)", "keyctl session {}", name)
    try:
        _call(lib.join_session_keyring, name, name.encode())
    except KernelError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def getsockopt(sockfd: int, level: int, optname: int, question: bytes) -> bytes:
    """getsockopt(2) for options whose buffer is read before it is filled. Returns: the buffer afterwards (bytes)."""
    # Python's own getsockopt passes an empty buffer.
    buffer, length = ffi.new("char[]", question), ffi.new("unsigned int *", len(question))
    _call(lib.getsockopt, f"{level} {optname}", sockfd, level, optname, buffer, length)
    return bytes(ffi.buffer(buffer, length[0]))
