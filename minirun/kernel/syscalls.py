"""System calls: one function for each, with its man page's name and argument order.

The first of the four doors to the kernel. A call that changes something tells the shell line that would do the same,
is tried again when a signal interrupts it (EINTR), and turns every errno into a `KernelError` that names the call,
its arguments and, where the number alone has misled generations, a hint. This module alone sees cffi and prctl.
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

KERNEL_HINT = "minirun needs Linux 5.11 or newer"

#: What an errno of a call most often means, when strerror(3) does not say it.
HINTS = {
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
    """The error for a failed call.

    Arguments: call (str), its name; subject (str), what it was about; reason (int), the errno.
    """
    hint = HINTS.get((call, reason), "")
    if not hint and reason == errno.EPERM and os.geteuid() != 0:
        hint = ROOT_HINT
    return KernelError(f"{call} {subject}".rstrip(), reason, hint=hint)


def _call(function: object, subject: str, *arguments: object) -> int:
    """Make a call of the C module; `subject` is said when it fails."""
    while True:
        result = function(*arguments)  # type: ignore[operator]
        if result >= 0:
            return result
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
    """unshare(2): leave the namespaces named by the CLONE_NEW* `flags` for new ones.

    CLONE_NEWPID is different from the others: the caller stays where it is, its *next child* is pid 1 of the new one.
    """
    tell("unshare(2)", lambda bits: f"unshare {namespace_words(bits)}", flags)
    _call(lib.unshare, namespace_words(flags), flags)


def setns(fd: int, nstype: int, path: str = "") -> None:
    """setns(2): enter the namespace that the open file `fd` (/proc/PID/ns/...) stands for; `nstype` is its CLONE_NEW*.

    `path` is what was opened, for those who listen: the descriptor itself only remembers "net:[4026531840]".
    """
    tell("setns(2)", lambda *_: f"nsenter {namespace_words(nstype)}={path or described(fd)}")
    _call(lib.setns, namespace_words(nstype), fd, nstype)


def clone3(flags: int, cgroup: int = -1) -> int:
    """clone3(2) without shared memory, that is fork(2) with two wishes.

    Arguments: flags (int), CLONE_NEW* for the child; cgroup (int), open directory of the cgroup v2 in which the child
    begins its life, or -1 for the caller's. Returns: the child's pid in the parent, 0 in the child.
    """
    tell(
        "clone3(2)",
        lambda *_: (
            f"unshare {namespace_words(flags)} --fork".replace("  ", " ")
            + (f"   # in cgroup {described(cgroup)}" if cgroup >= 0 else "")
        ),
    )
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
    target = shown(target)
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
        return f"mount --{'r' if mountflags & MS_REC else ''}bind{options} {shown(source)} {target}"
    return f"mount -t {filesystemtype}{options} {quoted(source)} {target}"


def mount(source: str, target: str, filesystemtype: str, mountflags: int, data: str = "") -> None:
    """mount(2): mount, bind, remount or change the propagation of `target`, as `mountflags` (MS_*) say."""
    tell("mount(2)", _mount_line, source, target, filesystemtype, mountflags, data)
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
        subject = f"{filesystemtype or source} on {shown(target)}"
        raise failure("mount", f"{subject} ({data})" if data else subject, error.errno) from None


def umount2(target: str, flags: int) -> None:
    """umount2(2): unmount `target`; MNT_DETACH takes it out of sight at once and lets go when nobody uses it."""
    tell("umount2(2)", lambda *_: f"umount {'--lazy ' if flags & MNT_DETACH else ''}{shown(target)}")
    _call(lib.umount2, target, os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): make `new_root` the root mount of this mount namespace; the old root appears at `put_old`."""
    tell("pivot_root(2)", "pivot_root {} {}", new_root, put_old)
    _call(lib.pivot_root, new_root, os.fsencode(new_root), os.fsencode(put_old))


# ---- files -----------------------------------------------------------------------------------------------------


def openat2(dirfd: int, pathname: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): open `pathname` below `dirfd`; `resolve` (RESOLVE_*) says how far names and links may lead.

    The descriptor is close-on-exec always. Returns: the new descriptor (int).
    """
    return _call(lib.openat2, pathname, dirfd, os.fsencode(pathname), flags | os.O_CLOEXEC, mode, resolve)


def mkdirat(dirfd: int, pathname: str, mode: int) -> None:
    """mkdirat(2): make a directory. `dirfd` is an open directory, or AT_FDCWD."""
    tell("mkdirat(2)", lambda *_: f"mkdir -m {mode:o} {below(dirfd, pathname)}")
    try:
        os.mkdir(pathname, mode, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as reason:
        raise failure("mkdir", pathname, reason.errno or 0) from None


def rmdir(pathname: str) -> None:
    """rmdir(2): remove an empty directory (a cgroup counts as empty when no process and no cgroup is in it)."""
    tell("rmdir(2)", "rmdir {}", quoted(pathname))
    try:
        os.rmdir(pathname)
    except OSError as reason:
        raise failure("rmdir", pathname, reason.errno or 0) from None


def mknodat(dirfd: int, pathname: str, mode: int, dev: int) -> None:
    """mknodat(2): make a device node or fifo; `mode` holds type (S_IFCHR ...) and permissions, umask not applied."""
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
    """fchownat(2): give a file another owner and group; -1 leaves one as it is."""
    tell(
        "fchownat(2)",
        lambda *_: f"chown {owner if owner >= 0 else ''}{f':{group}' if group >= 0 else ''} " + below(dirfd, pathname),
    )
    try:
        os.chown(pathname, owner, group, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as reason:
        raise failure("chown", pathname, reason.errno or 0) from None


def chdir(path: str) -> None:
    """chdir(2): the directory from which relative paths start."""
    tell("chdir(2)", "cd {}", quoted(path))
    try:
        os.chdir(path)
    except OSError as reason:
        raise failure("chdir", path, reason.errno or 0) from None


def close_range(first: int, last: int, flags: int = 0) -> None:
    """close_range(2): close all descriptors from `first` to `last`, or with CLOSE_RANGE_CLOEXEC let exec do it."""
    _call(lib.close_range, f"{first}-{last}", first, last, flags)


def described(fd: int) -> str:
    """The path that an open descriptor stands for, as /proc shows it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"/proc/self/fd/{fd}"


def shown(path: str) -> str:
    """A path for a shell: /proc/self/fd/7 is shown as what descriptor 7 stands for."""
    head, _, number = path.rpartition("/")
    return quoted(described(int(number)) if head == "/proc/self/fd" and number.isdigit() else path)


def below(dirfd: int, pathname: str) -> str:
    """`pathname` below the open directory `dirfd`, for a shell."""
    whole = dirfd == AT_FDCWD or pathname.startswith("/")
    return quoted(pathname if whole else f"{described(dirfd)}/{pathname}")


# ---- names -----------------------------------------------------------------------------------------------------


def sethostname(name: str) -> None:
    """sethostname(2): the name of this uts namespace."""
    tell("sethostname(2)", "hostname {}", quoted(name))
    _call(lib.sethostname, name, name.encode(), len(name.encode()))


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain of this uts namespace."""
    tell("setdomainname(2)", "domainname {}", quoted(name))
    _call(lib.setdomainname, name, name.encode(), len(name.encode()))


# ---- rights ----------------------------------------------------------------------------------------------------


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2): the three sets of this thread, each an integer with bit N for capability N."""
    tell(
        "capset(2)",
        "capsh --eff={:#x} --prm={:#x} --inh={:#x}   # capset has no exact twin in the shell",
        effective,
        permitted,
        inheritable,
    )
    _call(lib.capset, "", effective, permitted, inheritable)


def cap_ambient_raise(capability: int) -> None:
    """prctl(2) PR_CAP_AMBIENT_RAISE: keep a capability over an exec by a user that is not root."""
    tell("prctl(2)", "setpriv --ambient-caps +cap_{}", capability)
    _call(lib.cap_ambient_raise, str(capability), capability)


def cap_ambient_clear() -> None:
    """prctl(2) PR_CAP_AMBIENT_CLEAR_ALL."""
    tell("prctl(2)", "setpriv --ambient-caps -all")
    _call(lib.cap_ambient_clear, "")


def prctl(option: str, *arguments: object, shell: str = "") -> None:
    """prctl(2): a setting of this process.

    Arguments: option (str), without PR_, "SET_NO_NEW_PRIVS"; its arguments; shell (str), the equal shell line where it
    does not follow from these.
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
    """setgroups(2): the supplementary groups."""
    tell(
        "setgroups(2)",
        lambda *_: f"setpriv --groups={','.join(map(str, groups))}" if groups else "setpriv --clear-groups",
    )
    _rights(os.setgroups, "setgroups", groups)


def setresgid(gid: int) -> None:
    """setresgid(2): real, effective and saved group at once."""
    tell("setresgid(2)", "setpriv --regid {}", gid)
    _rights(os.setresgid, "setresgid", gid, gid, gid)


def setresuid(uid: int) -> None:
    """setresuid(2): real, effective and saved user at once; after it there is no way back."""
    tell("setresuid(2)", "setpriv --reuid {}", uid)
    _rights(os.setresuid, "setresuid", uid, uid, uid)


def _rights(function: object, name: str, *arguments: object) -> None:
    try:
        function(*arguments)  # type: ignore[operator]
    except OSError as reason:
        raise failure(name, str(arguments[0]), reason.errno or 0) from None


# ---- processes -------------------------------------------------------------------------------------------------

#: The resource limits by the names that prlimit(1) and config.json give them, in the order of their numbers.
RESOURCES = (
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
)
RLIM_INFINITY = 2**64 - 1


def prlimit(kind: str, soft: int, hard: int) -> None:
    """prlimit(2): a limit of ours. Arguments: kind (str), "nofile"; soft, hard (int), RLIM_INFINITY for none."""
    tell("prlimit(2)", lambda *_: f"prlimit --{kind}={_limit_word(soft)}:{_limit_word(hard)}")
    if kind not in RESOURCES:
        raise failure("prlimit", kind, errno.EINVAL)
    _call(lib.prlimit, f"{kind} {_limit_word(soft)}:{_limit_word(hard)}", 0, RESOURCES.index(kind), soft, hard)


def _limit_word(value: int) -> str:
    return "unlimited" if value == RLIM_INFINITY else str(value)


def umask(mask: int) -> None:
    """umask(2): the permission bits that new files do not get."""
    tell("umask(2)", "umask {:04o}", mask)
    os.umask(mask)


def execve(pathname: str, argv: list[str], envp: dict[str, str]) -> None:
    """execve(2): become another program. Returns only by raising."""
    tell("execve(2)", lambda *_: "exec " + " ".join(map(quoted, argv)))
    try:
        os.execve(pathname, argv, envp)
    except OSError as reason:
        raise failure("exec", pathname, reason.errno or 0) from None


def pidfd_open(pid: int, flags: int = 0) -> int:
    """pidfd_open(2): a descriptor that stands for this very process, never for a later one with the same pid.

    It becomes readable when the process ends.
    """
    return _call(lib.pidfd_open, str(pid), pid, flags)


def pidfd_send_signal(pidfd: int, sig: int) -> None:
    """pidfd_send_signal(2): a signal to the process that `pidfd` stands for."""
    tell("pidfd_send_signal(2)", lambda *_: f"kill -{sig} {_pid_of(pidfd)}")
    _call(lib.pidfd_send_signal, str(sig), pidfd, sig, ffi.NULL, 0)


def _pid_of(pidfd: int) -> str:
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next((line.split()[1] for line in file if line.startswith("Pid:")), "?")


def set_controlling_terminal(fd: int) -> None:
    """ioctl(2) TIOCSCTTY: make the terminal `fd` the controlling one of this session (whose leader the caller is)."""
    tell("ioctl(2)", "setsid --ctty   # {}", fd)
    _call(lib.set_controlling_terminal, described(fd), fd)


def attach_device_program(instructions: bytes, cgroup: int) -> None:
    """bpf(2): let a program decide which devices the processes of a cgroup v2 may open and make.

    Arguments: instructions (bytes), eight for each; cgroup (int), the open directory of the cgroup.
    """
    tell(
        "bpf(2)",
        lambda *_: (
            f"bpftool cgroup attach {described(cgroup)} cgroup_device id ...   "
            f"# a program of {len(instructions) // 8} instructions"
        ),
    )
    program = _call(lib.bpf_load_device_program, "BPF_PROG_LOAD", instructions, len(instructions) // 8)
    try:
        _call(lib.bpf_attach_device_program, f"BPF_PROG_ATTACH to {described(cgroup)}", program, cgroup)
    finally:
        os.close(program)


def setsid() -> None:
    """setsid(2): begin a session of one's own, without a controlling terminal. Fine for who leads one already."""
    tell("setsid(2)", "setsid")
    try:
        os.setsid()
    except PermissionError:
        return


def join_session_keyring(name: str) -> None:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: begin with an empty session keyring instead of the one we inherited.

    Keys belong to no namespace; without this a container's root would possess the keys of whoever started it. A kernel
    without keys, or a host that forbids keyctl(2), has none to protect.
    """
    tell("keyctl(2)", "keyctl session {}", name)
    try:
        _call(lib.join_session_keyring, name, name.encode())
    except KernelError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def getsockopt(sockfd: int, level: int, optname: int, question: bytes) -> bytes:
    """getsockopt(2) for those options that read the buffer before they fill it; Python's own begins with an empty one.

    Returns: the buffer afterwards, of the same size at most.
    """
    buffer, length = ffi.new("char[]", question), ffi.new("unsigned int *", len(question))
    _call(lib.getsockopt, f"{level} {optname}", sockfd, level, optname, buffer, length)
    return bytes(ffi.buffer(buffer, length[0]))
