"""Why two things are different, in a sentence: known reasons first, else what the value means at all.

`KNOWN` is docs/differences.md as far as the kernel shows it, between a container of Docker's and one of ours.
`MEANINGS` explains each term to a reader who sees it for the first time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.lecture.compare.finding import Finding

#: The aspect of a line that is on both sides, but not in the same place.
PLACE = "place"
DOCUMENT = "docs/differences.md"

#: Topic, pattern for "NAME ASPECT VALUE-OF-A VALUE-OF-B", reason: for Docker against minirun.
KNOWN = (
    ("namespaces", "^cgroup ", "with cgroup v1 Docker leaves a container in the host's; minirun never does"),
    ("mounts", "^/sys/fs/cgroup/unified", "on a host with both versions minirun mounts v2's tree too"),
    ("mounts", "^/ propagation ", "minirun mounts the root in the container's namespace only: it has no master"),
    ("mounts", "^/ super ", "minirun says what Docker leaves to the kernel's defaults"),
    ("rights", "^seccomp ", "minirun has no seccomp filter yet"),
)

#: Topic, aspect or name ("*" for all others), what it means.
MEANINGS_TEXT = """
links  mtu                 the largest packet in bytes; a larger one is cut into pieces or refused
links  qdisc               how packets that have to wait are queued
links  qlen                how many packets may wait before some are lost
links  state               whether packets can pass: a veth is down while its other end is
links  link                the MAC address; Docker makes it of 02:42 and the IPv4 address
links  brd                 the MAC that means everybody
links  flags               what ip prints in < >
links  master              the bridge that it is plugged into
links  kind                what sort of device it is
links  promiscuity         how many want to see all packets: a bridge of its ports, tcpdump of anything
links  allmulti            how many want to see all multicast packets
links  numtxqueues         queues for sending, one for each processor unless said otherwise
links  numrxqueues         queues for receiving, one for each processor unless said otherwise
links  addrgenmode         how the kernel makes the link-local IPv6 address
links  link-netnsid        the number by which this namespace knows that of the other end
links  host_end's_number   Docker makes both ends on the host, one after the other: N here, N+1 there
links  *                   what `ip -d link` says of the link
addresses  inet            an engine gives the lowest free address of the subnet, a person any other
addresses  brd             the address that means everybody on the subnet; Docker sets it explicitly
addresses  scope           how far away the address is of use
addresses  flags           how the kernel treats the address
addresses  *               an address that packets can be sent to and come from
routes  via                the gateway that the packet is handed to
routes  src                the sender's address, if the program chose none
routes  flags              linkdown: nothing is at the other end of the link
routes  metric             of two routes to the same place the smaller one wins
routes  proto              who made the route
routes  *                  where packets to this destination go
neighbours  lladdr         the MAC that ARP found for the address
neighbours  *              ARP learns it when the first packet is sent, and forgets it after some quiet minutes
ports  master              the bridge that it is plugged into
ports  state               3 is forwarding, 0 disabled
ports  mode                hairpin: whether a packet may leave through the port that it came in by
ports  isolated            isolated ports do not hear each other
ports  learning            whether the bridge remembers the senders' MACs
ports  *                   how the bridge treats what goes through this port
rules  place               the same rule in another place: in a chain the first match decides
rules  *                   a rule that the container's packets can meet
sysctls  ip_forward        whether the kernel passes packets on from link to link
sysctls  disable_ipv6      Docker switches IPv6 off unless the network has it
sysctls  ip_unprivileged_port_start  from this port on everybody may listen; Docker says 0
sysctls  ping_group_range  which groups may ping without a raw socket; Docker says all
sysctls  mtu               IPv6's own; it follows the link's
sysctls  rp_filter         whether a packet must come from where the answer would go
sysctls  route_localnet    whether packets for 127.0.0.0/8 may come from outside
sysctls  bridge-nf-call-iptables     whether packets between two ports of a bridge pass iptables
sysctls  *                 a setting of this network namespace
files  mode                who may read and write the file
files  /etc/hosts          names that need no DNS; Docker adds the container's own
files  /etc/hostname       a file for programs to read; what counts is the kernel's host name
files  /etc/resolv.conf    which name servers are asked
files  *                   a file that the engine writes
namespaces  cgroup         what the process sees as the root of the cgroup tree
namespaces  ipc            System V IPC and POSIX message queues
namespaces  mnt            what is mounted where
namespaces  net            links, addresses, routes, rules, ports
namespaces  pid            process numbers
namespaces  time           the clocks that count from the boot
namespaces  user           which root is root
namespaces  uts            the host name
namespaces  *              see namespaces(7)
mounts  options            ro, nosuid, nodev, noexec: what may be done below this mount
mounts  propagation        whether a mount made on one side appears on the other
mounts  root               which part of the file system is mounted
mounts  super              options of the file system as a whole
mounts  type               the kind of file system
mounts  source             what is mounted
mounts  *                  a file system in the process's tree
rights  effective          capabilities in use
rights  permitted          capabilities that it may use
rights  bounding           capabilities that nobody below this process can get back
rights  inheritable        capabilities kept over exec if the file agrees
rights  ambient            capabilities kept over exec
rights  seccomp            a filter that refuses system calls
rights  no_new_privs       whether set-user-ID programs still give somebody else's rights
rights  user               real, effective, saved and file system ID
rights  groups             supplementary groups
rights  *                  see credentials(7) and capabilities(7)
limits  memory.limit       bytes; who needs more meets the OOM killer
limits  memory.swap        bytes of memory and swap together
limits  memory.reservation what remains when the machine runs short
limits  cpu.shares         weight when processors are scarce
limits  cpu.quota          microseconds of processor time in each period
limits  cpu.period         microseconds
limits  cpu.cpus           which processors may be used
limits  pids.limit         how many processes and threads
limits  devices            which device nodes may be used: type, major:minor, read write mknod
limits  cgroup             its place in the tree
limits  *                  a limit of its cgroup
"""
MEANINGS = {
    (topic, word.replace("_", " ") if "'" in word else word): meaning
    for topic, word, meaning in (line.split(None, 2) for line in MEANINGS_TEXT.strip().splitlines())
}


def reason(finding: Finding, engines: tuple[str, str]) -> str:
    """Why, in a sentence, something is different or on one side only.

    Arguments: engines, those of A and B: a known difference between the two is one in that case alone.
    """
    if set(engines) == {"docker", "minirun"}:
        text = f"{finding.name} {finding.aspect} {finding.a} {finding.b}"
        for topic, pattern, why in KNOWN:
            if topic == finding.topic and re.search(pattern, text):
                return f"{why} ({DOCUMENT})"
    words = (
        finding.aspect,
        finding.name,
        finding.name.rpartition(".")[2],
        finding.name.rpartition(" ")[2],
        finding.name.partition(" ")[0],
        "*",
    )
    return next(MEANINGS[finding.topic, word] for word in words if (finding.topic, word) in MEANINGS)
