"""`minirun --explain`: its list of actions against what strace sees, process by process and line by line.

Every system call that changes the kernel goes through a door, and a door tells the shell line that would do the same
just before it acts. So in each process what was told and what was done must be the same list. Here what was done is
turned into shell lines a second time, from strace's record alone: an action beside the doors is a line that nobody
told, a line without its call is one that nobody did, and both make the lists differ.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import shlex
import shutil
import signal
import struct

import pytest

pytestmark = pytest.mark.timing("strace makes a start take seconds, and timers that else never run out may run out")

CAPABILITIES = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
    net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
    sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
    audit_control setfcap mac_override
    mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
SPACES = {
    "CLONE_NEWNS": "mount",
    "CLONE_NEWPID": "pid",
    "CLONE_NEWNET": "net",
    "CLONE_NEWUTS": "uts",
    "CLONE_NEWIPC": "ipc",
    "CLONE_NEWCGROUP": "cgroup",
    "CLONE_NEWUSER": "user",
    "CLONE_NEWTIME": "time",
}
MOUNT_WORDS = {
    "MS_RDONLY": "ro",
    "MS_NOSUID": "nosuid",
    "MS_NODEV": "nodev",
    "MS_NOEXEC": "noexec",
    "MS_SYNCHRONOUS": "sync",
    "MS_DIRSYNC": "dirsync",
    "MS_NOATIME": "noatime",
    "MS_NODIRATIME": "nodiratime",
    "MS_RELATIME": "relatime",
    "MS_STRICTATIME": "strictatime",
}
#: prctl(2) options that only ask, and one that gives a piece of memory a name.
HARMLESS = ("PR_CAPBSET_READ", "PR_SET_VMA", "PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET")
#: Types of requests to rtnetlink (linux/rtnetlink.h), and to nfnetlink: subsystem << 8 | type.
RTNETLINK = {
    16: "RTM_NEWLINK",
    17: "RTM_DELLINK",
    18: "RTM_GETLINK",
    19: "RTM_SETLINK",
    20: "RTM_NEWADDR",
    21: "RTM_DELADDR",
    22: "RTM_GETADDR",
    24: "RTM_NEWROUTE",
    25: "RTM_DELROUTE",
    26: "RTM_GETROUTE",
    0xA10: "NFT_MSG_GETGEN",
    0x101: "IPCTNL_MSG_CT_GET",
    0x102: "IPCTNL_MSG_CT_DELETE",
}
#: Whoever calls one of these in a start goes around the doors, which have no twin of it.
NEVER = """chroot setuid setgid setreuid setregid setfsuid setfsgid move_mount open_tree fsopen fsmount fsconfig fspick
    mount_setattr setdomainname add_key request_key swapon acct reboot init_module finit_module delete_module
    settimeofday clock_settime adjtimex setrlimit setpriority quotactl fanotify_init""".split()
TRACED = """mount umount2 pivot_root unshare setns clone clone3 fork vfork sethostname mknod mknodat symlink symlinkat
    mkdir mkdirat rmdir unlinkat chown lchown fchown fchownat chdir fchdir capset prctl setgroups setresgid setresuid
    write writev pwrite64 pwritev sendfile splice copy_file_range sendto sendmsg keyctl execve execveat bpf ioctl
    setsid umask prlimit64 kill tgkill pidfd_send_signal pidfd_open open openat openat2""".split()


# ---- reading strace's record -----------------------------------------------------------------------------------


class Call:
    """One system call: `.pid`, `.name`, `.arguments` (list of str as strace puts them), `.result` (str)."""

    def __init__(self, pid, name, text, result):
        self.pid, self.name, self.text, self.result = pid, name, text, result
        self.arguments = split_arguments(text)

    def __repr__(self):
        return f"{self.name}({self.text}) = {self.result}"

    def string(self, number):
        """An argument that is a string; "" for a pointer that strace did not follow."""
        return unquoted(self.arguments[number])

    def descriptor(self, number=0):
        """(number, what strace says it leads to) of an argument that is a descriptor."""
        found = re.match(r"(-?\d+|AT_FDCWD)(?:<(.*)>)?$", self.arguments[number], re.S)
        return (found[1], found[2] or "") if found else ("", "")


def split_arguments(text):
    """Split at the commas that are in no string and no bracket."""
    parts, depth, quoted, start, place = [], 0, False, 0, 0
    while place < len(text):
        letter = text[place]
        if quoted:
            place += letter == "\\"
            quoted = letter != '"' if letter != "\\" else True
        elif letter == '"':
            quoted = True
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
        place += 1
    return [*parts, text[start:].strip()]


def unquoted(text):
    """The string in strace's quotes."""
    if not text.startswith('"'):
        return ""
    assert not text.endswith("..."), f"strace has cut {text[:80]}"
    return text[1:-1].encode("latin-1").decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")


def calls(record):
    """All calls in the order in which they began; those in two halves are put together."""
    found, open_halves = [], {}
    for line in record.split("\n"):
        head = re.match(r"(\d+) +(.*)", line, re.S)
        if not head or head[2].startswith(("---", "+++")):
            continue
        pid, text = int(head[1]), head[2]
        if half := re.match(r"<\.\.\. \w+ resumed>(.*)", text, re.S):
            place, begun = open_halves.pop(pid)
            text = begun + half[1]
        elif text.endswith("<unfinished ...>"):
            open_halves[pid] = (len(found), text.removesuffix("<unfinished ...>"))
            found.append(None)
            continue
        else:
            place = len(found)
            found.append(None)
        whole = re.match(r"(\w+)\((.*)\) += (\S.*)$", text, re.S)
        assert whole or "= ?" in text or " resumed" in text, line
        found[place] = Call(pid, whole[1], whole[2], whole[3]) if whole else None
    for pid, (place, begun) in open_halves.items():  # those that never came back: the process has ended in them
        name, _, text = begun.partition("(")
        found[place] = Call(pid, name, text.rstrip(" )"), "?")
    return [call for call in found if call]


# ---- what was done, in the shell's words -----------------------------------------------------------------------


class Process:
    """One process of a start: what it `told`, what it has `done`; on which side it is; its descriptors."""

    def __init__(self, pid):
        self.pid = pid
        self.told, self.done, self.sides = [], [], []
        self.inside = False  # born in a container's pid namespace
        self.joined_pid = False  # its next child will be
        self.opened = {}  # number of a descriptor → (path as it was opened by, path as the kernel has it)
        self.pidfds = {}  # number of a descriptor → pid
        self.over = False  # it has become another program, which is none of ours
        self.spawned_by = None  # the process that has begun this one to become another program, and waits (vfork)

    def shown(self, path):
        """/proc/self/fd/7 as the path that it was opened by, as far as the record tells."""
        found = re.fullmatch(r"/proc/self/fd/(\d+)", path)
        return self.opened[found[1]][1] if found else path

    def literal(self, number, resolved):
        """The path by which a descriptor was opened, in the words of whoever opened it."""
        return self.opened.get(number, ("", ""))[0] or resolved


def flag_set(text):
    return set(text.split("|"))


def spaces(flags):
    return [f"--{word}" for flag, word in SPACES.items() if flag in flags]


def octal(text):
    """The permissions in "S_IFCHR|0666" or "0755"."""
    return f"{int(text.split('|')[-1], 8):o}"


def masks(text):
    """{effective=1<<CAP_CHOWN|..., permitted=..., inheritable=0} as numbers."""
    return [
        sum(1 << CAPABILITIES.index(word.lower()) for word in re.findall(r"1<<CAP_(\w+)", part))
        for part in re.findall(r"\w+=([^,}]*)", text)
    ]


def mounted(process, call):
    source, target, kind, data = call.string(0), process.shown(call.string(1)), call.string(2), call.string(4)
    flags = flag_set(call.arguments[3])
    for flag in ("MS_SHARED", "MS_SLAVE", "MS_PRIVATE", "MS_UNBINDABLE"):
        if flag in flags:
            return f"mount --make-{'r' if 'MS_REC' in flags else ''}{flag[3:].lower()} {target}"
    words = [word for flag, word in MOUNT_WORDS.items() if flag in flags] + [data] * bool(data)
    assert not flags - set(MOUNT_WORDS) - {"MS_REMOUNT", "MS_BIND", "MS_REC", "MS_SILENT", "0", "MS_MGC_VAL"}, call
    if "MS_REMOUNT" in flags:
        return f"mount -o {','.join(['remount', *['bind'] * ('MS_BIND' in flags), *words])} {target}"
    options = f" -o {','.join(words)}" if words else ""
    if "MS_BIND" in flags:
        return f"mount --{'r' if 'MS_REC' in flags else ''}bind{options} {process.shown(source)} {target}"
    return f"mount -t {kind}{options} {source} {target}"


def born(call):
    """clone3(2), and an older call where it makes namespaces; a plain fork changes nothing, nor does posix_spawn."""
    flags = flag_set(re.search(r"flags=([^,}]*)", call.text)[1])
    if "CLONE_VFORK" in flags or (call.name != "clone3" and not spaces(flags)):
        return None
    return " ".join(["unshare", *spaces(flags), "--fork"])


def made_node(process, call, name, mode, device):
    if "S_IFIFO" in mode:
        return f"mkfifo -m {octal(mode)} {name}"
    numbers = [int(number, 0) for number in re.findall(r"0x[0-9a-f]+|\d+", device)]
    return f"mknod -m {octal(mode)} {name} {'b' if 'S_IFBLK' in mode else 'c'} {numbers[0]} {numbers[1]}"


def below(process, call, directory, name):
    """The path of a name below a descriptor."""
    path = call.string(name)
    number, resolved = call.descriptor(directory)
    return path if path.startswith("/") or number == "AT_FDCWD" else f"{resolved}/{path}"


def controlled(text):
    """prctl(2), or None where it changes nothing."""
    if text.startswith(("PR_GET_", *HARMLESS)):
        return None
    if found := re.match(r"PR_CAPBSET_DROP, CAP_(\w+)", text):
        return f"setpriv --bounding-set -{found[1].lower()}"
    if found := re.match(r'PR_SET_NAME, "(.*?)"', text):
        return f"echo {found[1]} > /proc/self/comm"
    if text.startswith("PR_SET_NO_NEW_PRIVS, 1"):
        return "setpriv --no-new-privs"
    if text.startswith("PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL"):
        return "setpriv --ambient-caps -all"
    if found := re.match(r"PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_(\w+)", text):
        return f"setpriv --ambient-caps +cap_{found[1].lower()}"
    values = {"SUID_DUMP_DISABLE": "0", "SUID_DUMP_USER": "1"}
    words = [values.get(word, word) for word in text.replace(",", "").split()]
    return f"prctl {' '.join(words)}"


def limited(text):
    """prlimit64(2), or None where it only asks."""
    who, resource, new, _ = split_arguments(text)
    if new == "NULL":
        return None
    numbers = []
    for word in re.findall(r"rlim_(?:cur|max)=([^,}]*)", new):
        factors = word.split("*")
        numbers.append(
            "unlimited"
            if word == "RLIM64_INFINITY"
            else str(int(factors[0]) * (int(factors[1]) if len(factors) > 1 else 1))
        )
    whose = "" if who == "0" else f" {who}"
    return f"prlimit --{resource.removeprefix('RLIMIT_').lower()}={numbers[0]}:{numbers[1]}{whose}"


def netlink(text):
    """The requests of one message to rtnetlink that change something: (type, words that the `ip` line must have).

    strace takes a request apart when it can find the socket in /proc/net/netlink, which it cannot for another network
    namespace; then the bytes are in its record, and are taken apart here.
    """
    for message in re.split(r"(?=\{nlmsg_len=)", text)[1:]:
        kind = re.search(r"nlmsg_type=([^, ]*)", message)[1]
        kind = RTNETLINK.get(int(kind, 16), kind) if kind.startswith("0x") else kind
        if kind.startswith(("RTM_GET", "NFNL", "NFT_MSG_GET", "IPCTNL_MSG_CT_GET")):
            continue
        if raw := re.match(r'\{[^}]*\}, ("(?:\\x[0-9a-f]{2})*")', message):
            yield kind, raw_words(kind, unquoted(raw[1]).encode("utf-8", "surrogateescape"))
            continue
        words = set(re.findall(r'IFLA_IFNAME\}, "([^"]*)"', message))
        words |= set(re.findall(r'(?:IFA_LOCAL|IFA_BROADCAST|RTA_GATEWAY)\}, inet_addr\("([^"]*)"\)', message))
        words |= set(re.findall(r"IFLA_ADDRESS\}, ([0-9a-f:]{17})", message))
        if kind in ("RTM_SETLINK", "RTM_NEWLINK") and re.search(r"ifi_flags=\S*IFF_UP", message):
            words.add("up")
        yield kind, words


def restored(script):
    """What iptables-restore does with a script, one `iptables` line for each of its lines."""
    table = ""
    for line in script.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line != "COMMIT":
            yield f"iptables --wait -t {table} {line}"


def piped(lines):
    """Told lines, in which `printf SCRIPT | nsenter ... iptables-restore` is what that does.

    It is told before the way into the namespace and back, which is taken to begin the program there.
    """
    expanded, waiting, steps = [], [], 0
    for line in lines:
        if isinstance(line, str) and line.startswith("printf ") and "iptables-restore" in line:
            words = shlex.split(line)
            waiting, steps = list(restored("\n".join(words[2 : words.index("|")]))), 2
            continue
        expanded.append(line)
        steps -= isinstance(line, str) and line.startswith("setns")
        if waiting and steps == 0:
            expanded += waiting
            waiting = []
    return expanded + waiting


def by_table(lines):
    """iptables lines that follow each other, table by table as one iptables-restore does them."""

    def table_of(line):
        found = isinstance(line, str) and re.match(r"iptables --wait -t (\w+) -[ADINXFP] ", line)
        return found[1] if found else ""

    sorted_lines = []
    for changes, run in itertools.groupby(lines, key=lambda line: bool(table_of(line))):
        block = list(run)
        tables = list(dict.fromkeys(map(table_of, block)))
        sorted_lines += sorted(block, key=lambda line: tables.index(table_of(line))) if changes else block
    return sorted_lines


def raw_words(kind, body):
    """The words of a request out of its bytes (rtnetlink(7)): names, addresses, and whether a link goes up."""
    if kind.startswith("IPCTNL_"):
        return set()  # a tuple of addresses and ports, of which the told line has the container's
    size = {"LINK": 16, "ADDR": 8, "ROUTE": 12}[re.sub("RTM_NEW|RTM_SET|RTM_DEL", "", kind)]
    words = {"up"} if size == 16 and body[8] & 1 else set()

    def attributes(part, nested=""):
        place = 0
        while place + 4 <= len(part):
            length, number = struct.unpack_from("=HH", part, place)
            value = part[place + 4 : place + length]
            if size == 16:
                if not nested and number == 18:  # IFLA_LINKINFO
                    attributes(value, "info")
                elif nested == "info":  # IFLA_INFO_DATA, whose VETH_INFO_PEER is a link again
                    attributes(value, "data") if number == 2 else None
                elif nested == "data":
                    attributes(value[16:], "peer") if number == 1 else None
                elif number == 3:
                    words.add(value.rstrip(b"\0").decode())
                elif number == 1:
                    words.add(value.hex(":"))
            elif (size, number) in ((8, 2), (8, 4), (12, 5)):  # IFA_LOCAL, IFA_BROADCAST, RTA_GATEWAY
                words.add(".".join(map(str, value)))
            place += max(4, length + -length % 4)

    attributes(body[size:])
    return words


class Story:
    """A start as strace has seen it: `.processes` (dict), `.written` (the list, as it was printed)."""

    def __init__(self, record, printed_to):
        self.processes, self.written, self.printed_to = {}, [], printed_to
        everything = calls(record)
        self.root = everything[0].pid
        # What comes before the interpreter is the launcher: it has nothing to tell anybody with.
        begin = max(
            (
                place
                for place, call in enumerate(everything)
                if call.pid == self.root
                and call.name.startswith("execve")
                and "--explain" in call.text
                and call.result == "0"
            ),
            default=0,
        )
        for call in everything[begin + 1 :]:
            self.take(call)

    def take(self, call):
        process = self.processes.get(call.pid)
        if process is None:
            process = self.processes[call.pid] = Process(call.pid)
        if process.over or "ERESTART" in call.result:
            return  # nothing was done: the kernel begins the call anew by itself, and strace sees it again
        if call.name in ("clone", "clone3", "fork", "vfork"):
            self.birth(process, call)
        elif call.name in ("execve", "execveat"):
            self.become(process, call)
        elif call.name in ("open", "openat", "openat2"):
            self.open(process, call)
        elif call.name == "pidfd_open" and call.result[0].isdigit():
            process.pidfds[call.result.split("<")[0]] = call.arguments[0]
        elif call.name == "write" and call.descriptor()[1] == self.printed_to:
            self.printed(process, call.string(1))
        elif line := self.line(process, call):
            process.done += [line] if isinstance(line, str) else line

    def printed(self, process, text):
        self.written.append(text)
        for line in text.splitlines():
            side, rest = line[:10].strip(), line[10:]
            if side in ("host", "monitor", "container"):
                process.sides.append(side)
                if rest.startswith("    "):
                    process.told.append(rest.strip())

    def birth(self, process, call):
        line = born(call) if call.name.startswith("clone") else None
        if line:
            process.done.append(line)
        number = re.match(r"\d+", call.result)
        if not number:
            return
        flags = flag_set(re.search(r"flags=([^,}]*)", call.text)[1]) if "clone" in call.name else set()
        child = self.processes.setdefault(int(number[0]), Process(int(number[0])))
        child.opened, child.pidfds = {**process.opened, **child.opened}, {**process.pidfds, **child.pidfds}
        child.inside = process.inside or process.joined_pid or "CLONE_NEWPID" in flags
        if call.name == "vfork" or "CLONE_VFORK" in flags:  # posix_spawn: its parent waits until it is another program
            assert not child.told, "who shares its parent's memory must not tell"
            process.done += child.done
            child.spawned_by = process
            child.done = []

    def become(self, process, call):
        argv = [unquoted(word) for word in split_arguments(re.search(r"\[(.*?)\](?:, |$)", call.text, re.S)[1])]
        if process.spawned_by:
            if argv[0] != "iptables-restore":  # what it will do it is told through a pipe, see `wrote`
                process.spawned_by.done.append(" ".join(argv))
        else:
            process.done.append(" ".join(["exec", *argv]))
        process.over = call.result in ("0", "?")

    def open(self, process, call):
        found = re.match(r"(\d+)(?:<(.*)>)?$", call.result, re.S)
        if found:
            path = call.string(0 if call.name == "open" else 1)
            literal = path if path.startswith("/") and call.name != "openat2" else ""
            process.opened[found[1]] = (literal, found[2] or "")

    def line(self, process, call):
        """What a call does in the shell's words; a list for several, None where it is nothing for a door."""
        name, text = call.name, call.text
        if name in NEVER:
            return f"{name}({text}): no door has this call"
        if name in ("write", "writev", "pwrite64", "pwritev", "sendfile", "splice", "copy_file_range"):
            return self.wrote(process, call)
        if name in ("sendto", "sendmsg"):
            return [f"{kind} {' '.join(sorted(words))}".strip() for kind, words in netlink(text)] or None
        number, path = call.descriptor() if call.arguments else ("", "")
        if name == "setns":
            space = process.literal(number, "?")
            if "CLONE_NEWPID" in call.arguments[1]:
                process.joined_pid = space != "/proc/self/ns/pid"
            return f"setns {space.replace('/self/', f'/{process.pid}/')}"
        table = {
            "mount": lambda: mounted(process, call),
            "umount2": lambda: f"umount {'--lazy ' if 'MNT_DETACH' in text else ''}{process.shown(call.string(0))}",
            "pivot_root": lambda: f"pivot_root {call.string(0)} {call.string(1)}",
            "unshare": lambda: " ".join(["unshare", *spaces(flag_set(text))]),
            "sethostname": lambda: f"hostname {call.string(0)}",
            "mknod": lambda: made_node(process, call, call.string(0), call.arguments[1], call.arguments[-1]),
            "mknodat": lambda: made_node(
                process, call, below(process, call, 0, 1), call.arguments[2], call.arguments[-1]
            ),
            "capset": lambda: "capsh --eff={:#x} --prm={:#x} --inh={:#x}".format(*masks(call.arguments[1])),
            "prctl": lambda: controlled(text),
            "prlimit64": lambda: limited(text),
            "setgroups": lambda: (
                "setpriv --groups " + text.partition("[")[2].partition("]")[0].replace(" ", "")
                if "[" in text and "[]" not in text
                else "setpriv --clear-groups"
            ),
            "setresgid": lambda: f"setpriv --regid {call.arguments[0]}",
            "setresuid": lambda: f"setpriv --reuid {call.arguments[0]}",
            "keyctl": lambda: (
                f"keyctl session {call.string(1)}" if "KEYCTL_JOIN_SESSION_KEYRING" in text else f"keyctl({text})"
            ),
            "bpf": lambda: "bpftool cgroup attach" if "BPF_PROG_ATTACH" in text else None,
            "ioctl": lambda: (
                "setsid --ctty"
                if "TIOCSCTTY" in text
                else f"ioctl({text})"
                if re.search(r"SIOCS|SIOCBR|SIOCDEL|SIOCADD|TIOCSTI", text)
                else None
            ),
            "setsid": lambda: "setsid",
            "kill": lambda: f"kill({text})",
            "tgkill": lambda: f"tgkill({text})",
            "pidfd_send_signal": lambda: (
                f"kill -{int(getattr(signal, call.arguments[1]))} {process.pidfds.get(number, '?')}"
            ),
        }
        if name in table:
            return table[name]()
        return self.file(process, call, path)

    def file(self, process, call, path):
        """What is done to names of files. On the host only the cgroup tree is the kernel's; in a container all is."""
        name = call.name
        at = name.endswith("at")
        target = (
            below(process, call, *((1, 2) if name == "symlinkat" else (0, 1)))
            if at
            else call.string(1 if name == "symlink" else 0)
            if call.arguments[0].startswith('"')
            else path
        )
        if not process.inside and not target.startswith("/sys/fs/cgroup"):
            return None
        if name in ("mkdir", "mkdirat"):
            return f"mkdir -m {octal(call.arguments[-1])} {target}"
        if name == "rmdir" or (name == "unlinkat" and "AT_REMOVEDIR" in call.text):
            return f"rmdir {target}"
        if name in ("symlink", "symlinkat"):
            return f"ln -s {call.string(0)} {target}"
        if name in ("chown", "lchown", "fchown", "fchownat"):
            owner, group = call.arguments[2:4] if at else call.arguments[1:3]
            return f"chown {'' if owner == '-1' else owner}{'' if group == '-1' else f':{group}'} {target}"
        if name == "chdir":
            return f"cd {target}"
        return f"{name}({call.text})" if name == "fchdir" else None

    def wrote(self, process, call):
        number, path = call.descriptor()
        if path.startswith("pipe:") and call.string(1).startswith("*"):
            return list(restored(call.string(1)))
        if not path.startswith(("/proc/", "/sys/")):
            return None
        if call.name != "write":
            return f"{call.name}({call.text})"
        return f"echo {call.string(1)} > {process.literal(number, path)}"


def comparable(line, pid):
    """A told line as `Story` puts it: without quotes, and without what is said for people only."""
    line, _, call = line.rpartition("   # ")
    line = line.split("   # ")[0]
    if call.startswith(("RTM_", "IPCTNL_")):
        return call, line
    if call == "setns(2)":
        return "setns " + " ".join(
            word.partition("=")[2].replace("/self/", f"/{pid}/") for word in shlex.split(line)[1:]
        )
    if call == "bpf(2)":
        return "bpftool cgroup attach"
    if line.startswith("setpriv"):
        line = line.replace("=", " ")
    if line.startswith("printf "):
        return line
    with contextlib.suppress(ValueError):  # a line that no shell can read stays as it is
        line = " ".join(shlex.split(line))
    return line


def differences(process):
    """What was told and what was done, where they are not the same; empty when they are."""
    told = by_table(piped([comparable(line, process.pid) for line in process.told]))
    done = by_table(process.done)
    for place, line in enumerate(told):
        if isinstance(line, tuple):  # an `ip` line has the words of its request, and more
            kind, text = line
            told[place] = f"{kind} {text}"
            if (
                place < len(done)
                and done[place].split(" ")[0] == kind
                and set(done[place].split(" ")[1:]) <= set(re.split(r"[ /]", text))
            ):
                done[place] = told[place]
        elif line.startswith("unshare") and place < len(done) and sorted(line.split()) == sorted(done[place].split()):
            done[place] = line
    # umask(2) is told where it is for good, and not where it is only put aside for a moment; it concerns nobody else.
    told = [line for line in told if not line.startswith("umask ")]
    return list(difflib.unified_diff(done, told, "done (strace)", "told (--explain)", lineterm="", n=1))


# ---- the tests -------------------------------------------------------------------------------------------------


@pytest.fixture
def explained(tmp_path):
    """Run a command line under strace, with --explain: its Story."""
    if not shutil.which("strace"):
        pytest.skip("strace is missing: nobody else sees all system calls")

    def run(machine, *words):
        printed, record = tmp_path / "printed", tmp_path / "record"
        line = [
            "strace",
            "-f",
            "-y",
            "-s",
            "65536",
            "-o",
            str(record),
            "-e",
            "signal=none",
            "-e",
            "trace=" + ",".join(f"?{name}" for name in (*TRACED, *NEVER)),
            *machine.minirun.words,
            "--explain",
            *words,
        ]
        done = machine.run("sh", "-c", f"exec 2>{shlex.quote(str(printed))}; exec " + shlex.join(line))
        text = printed.read_text()
        if "PTRACE" in text and "ermitted" in text:
            pytest.skip(f"strace cannot trace here: {text}")
        assert done.returncode == 0, text
        story = Story(record.read_text(errors="surrogateescape"), str(printed))
        # What was printed is what these processes wrote, each line whole, and nothing else.
        assert sorted(story.written) == sorted(text.splitlines(keepends=True))
        return story

    return run


def check(story):
    problems = []
    for pid, process in story.processes.items():
        if process.sides or process.done:
            side = process.sides[0] if process.sides else "?"
            problems += [f"process {pid} ({side}):", *lines] if (lines := differences(process)) else []
            assert len(set(process.sides)) <= 1, (pid, set(process.sides))
    assert not problems, "\n".join(problems)


def everything_told(story):
    return [line for process in story.processes.values() for line in process.told]


def test_first_start_of_a_host(new_host, explained):
    """With the bridge and its chains being made."""
    story = explained(new_host, "run", "--rm", "alpine", "true")
    check(story)
    told = everything_told(story)
    for word in (
        "ip link add name minirun0",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "iptables",
        "pivot_root",
        "mount -t overlay",
        "exec true",
        "ip route add default",
        "--bounding-set -sys_admin",
        "unshare --mount",
    ):
        assert any(word in line for line in told), word


def test_next_start(minirun, host, explained):
    minirun.ok("run", "--rm", "alpine", "true")
    story = explained(host, "run", "--rm", "alpine", "true")
    check(story)
    assert not [
        line for line in everything_told(story) if "iptables" in line and " -S " not in line and " -C " not in line
    ]


def test_detached_with_limits_and_mounts(host, explained, tmp_path):
    (tmp_path / "shared").mkdir()
    check(
        story := explained(
            host,
            "run",
            "-d",
            "--name",
            "c1",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "50",
            "-v",
            f"{tmp_path}/shared:/there:ro",
            "--tmpfs",
            "/scratch",
            "alpine",
            "true",
        )
    )
    told = "\n".join(everything_told(story))
    for word in ("67108864", f"{tmp_path}/shared", "/there", "/scratch"):
        assert word in told, word


def test_a_published_port(host, explained):
    check(story := explained(host, "run", "--rm", "-p", "8080:80", "alpine", "true"))
    told = everything_told(story)
    for rule in (
        "nat -A MINIRUN ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT",
        "nat -A POSTROUTING -s 172.17.0.2/32",
        "filter -A MINIRUN -d 172.17.0.2/32",
    ):
        assert any(rule in line for line in told), rule


def test_a_network_with_names(minirun, host, explained):
    """The rules of the name service are set in the container's namespace."""
    minirun.ok("network", "create", "foo")
    try:
        check(story := explained(host, "run", "--rm", "--network", "foo", "alpine", "true"))
    finally:
        minirun.ok("network", "rm", "foo")
    assert any(
        line.startswith("printf") and "nsenter" in line and "MINIRUN_OUTPUT" in line for line in everything_told(story)
    )


@pytest.mark.parametrize("network", ["none", "host"])
def test_without_a_cable(host, explained, network):
    story = explained(host, "run", "--rm", "--network", network, "alpine", "true")
    check(story)
    assert not [line for line in everything_told(story) if "type veth" in line or "MASQUERADE" in line]


@pytest.mark.parametrize(
    "options",
    [
        ("--read-only", "-u", "1000:1000", "-w", "/tmp", "--cap-drop", "ALL", "--cap-add", "CHOWN"),
        ("--security-opt", "no-new-privileges", "--ulimit", "nofile=100:200", "--group-add", "20", "-h", "elsewhere"),
        ("-t", "--shm-size", "1m", "--cpuset-cpus", "0", "-c", "512"),
    ],
)
def test_all_kinds_of_options(host, explained, options):
    check(explained(host, "run", "--rm", *options, "alpine", "true"))


def test_exec_stop_and_rm(minirun, host, explained):
    minirun.begin("alpine", "sleep", "100")
    check(explained(host, "exec", "c1", "true"))
    check(explained(host, "exec", "-t", "-u", "1000", "-w", "/tmp", "c1", "true"))
    check(explained(host, "rm", "-f", "c1"))


def test_start_of_a_created_container(minirun, host, explained):
    check(explained(host, "create", "--name", "c1", "alpine", "true"))
    check(explained(host, "start", "c1"))


def lines_of(minirun, *words):
    """(side, line) of all that --explain prints."""
    result = minirun("--explain", *words)
    assert result.code == 0, result
    return [(line[:10].rstrip(), line[10:]) for line in result.err.splitlines()]


def test_three_sides(minirun):
    """The command, the monitor and the container: each line names the one who did it."""
    lines = lines_of(minirun, "run", "--rm", "alpine", "true")
    assert {side for side, _ in lines} == {"host", "monitor", "container"}
    side_of = {line.strip().split("   #")[0]: side for side, line in lines if line.startswith("    ")}
    for begins, wanted in (
        (("pivot_root", "hostname", "exec ", "setpriv"), "container"),
        (("ip link add", "mkdir -m 755 /sys/fs/cgroup/"), "monitor"),
    ):
        assert {side for line, side in side_of.items() if line.startswith(begins)} == {wanted}


def test_every_action_stands_under_its_stage(minirun):
    """A process names a stage before it acts; only what makes it a process of its own comes first."""
    seen = set()
    for side, line in lines_of(minirun, "run", "--rm", "alpine", "true"):
        if not line.startswith(" "):
            seen.add(side)
            assert line[0].islower() and not line.endswith("."), line
        else:
            assert side in seen or line.strip().startswith(("setsid", "echo minirun:")), (side, line)


@pytest.mark.parametrize(
    "words",
    [
        ("alpine", "sh", "-c", "echo 'it is'; echo \"so\""),
        ("alpine", "sh", "-c", "echo it\\'s"),
        ("-v", "/tmp:/a directory:ro", "alpine", "true"),
        ("-h", "elsewhere", "-m", "64m", "alpine", "true"),
    ],
)
def test_lines_can_be_typed(minirun, words):
    """Each is a line that a shell can read, word by word, and the exec line has the very words that were asked for."""
    program = words[words.index("alpine") + 1 :]
    lines = [line.strip() for _, line in lines_of(minirun, "run", "--rm", *words) if line.startswith("    ")]
    assert len(lines) > 80
    split = [shlex.split(line, comments=True) for line in lines]
    assert all(split)
    assert ["exec", *program] in split
    if "-v" in words:
        assert any(line[0] == "mount" and line[-1].endswith("/a directory") for line in split)


def test_each_line_names_its_call(minirun):
    lines = [line for _, line in lines_of(minirun, "run", "--rm", "alpine", "true") if line.startswith("    ")]
    assert not [line for line in lines if not re.search(r"   # ([a-z_0-9]+\([23]\)|RTM_[A-Z]+|run)$", line)]


def test_silent_without_the_flag(minirun):
    result = minirun("run", "--rm", "alpine", "true")
    assert (result.out, result.err, result.code) == ("", "", 0)
    for words in (("ps",), ("run", "-d", "--name", "c1", "alpine", "sleep", "100"), ("rm", "-f", "c1")):
        assert minirun(*words).err == ""


def test_output_of_the_program_is_not_touched(minirun):
    assert minirun("--explain", "run", "--rm", "alpine", "echo", "hello").out == "hello\n"


def test_no_colour_in_a_file(minirun):
    assert "\x1b" not in minirun("--explain", "run", "--rm", "alpine", "true").err
