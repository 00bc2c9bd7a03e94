"""config.json as minirun makes it, against what Docker hands to runc."""

import pytest

from harness.engine_samples import DAEMON, ID, Image, make, root
from minirun.engine.spec import specgen, users
from minirun.kernel import capabilities
from minirun.runtime import spec as oci

MiB = 1 << 20
OVERLAY = {"destination": "/", "type": "overlay", "source": "overlay", "options": ["lowerdir=/a"]}


def generate(user=None, image=None, **requested):
    spec = specgen.generate(make(image, **requested), user or root(), OVERLAY, DAEMON)
    oci.check(spec)  # what we write, our own runtime takes
    return spec


def mounts(**requested):
    return [
        f"{entry['destination']} {entry['type']} {entry['source']} {','.join(entry['options'])}"
        for entry in generate(**requested)["mounts"][1:]
    ]


DEFAULT = [
    "/proc proc proc nosuid,noexec,nodev",
    "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
    "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
    "/sys sysfs sysfs nosuid,noexec,nodev,ro",
    "/sys/fs/cgroup cgroup cgroup ro,nosuid,noexec,nodev",
    "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
    "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864",
    f"/etc/resolv.conf bind /DATA/containers/{ID}/resolv.conf rbind,rprivate",
    f"/etc/hostname bind /DATA/containers/{ID}/hostname rbind,rprivate",
    f"/etc/hosts bind /DATA/containers/{ID}/hosts rbind,rprivate",
]


def test_dockers_mounts_in_dockers_order():
    spec = generate()
    assert spec["mounts"][0] == OVERLAY
    assert mounts() == DEFAULT
    assert spec["root"] == {"path": f"/RUN/containers/{ID}/rootfs", "readonly": False}


def test_read_only_root_makes_the_etc_files_read_only_too():
    spec = generate(read_only=True)
    assert spec["root"]["readonly"] is True
    changed = [line for line in mounts(read_only=True) if line not in DEFAULT]
    assert changed == [line.replace("rbind,rprivate", "rbind,ro,rprivate") for line in DEFAULT[-3:]]


def test_mounts_of_the_persons_come_by_depth():
    lines = mounts(
        volume=["/h:/a/b/c", "/h:/v:ro,rslave"],
        tmpfs=["/t"],
        shm_size=128 * MiB,
        mount=[{"Type": "bind", "Source": "/", "Target": "/m", "BindOptions": {"NonRecursive": True}}],
    )
    assert lines[6] == "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=134217728"
    assert lines[7:] == [
        "/v bind /h rbind,ro,rslave",
        "/m bind / bind,rprivate",
        "/t tmpfs tmpfs noexec,nosuid,nodev,rprivate",
        *DEFAULT[-3:],
        "/a/b/c bind /h rbind,rprivate",
    ]


@pytest.mark.parametrize(
    ("requested", "line"),
    [
        (
            dict(tmpfs=["/t:size=1m,mode=1770,exec,uid=5"]),
            "/t tmpfs tmpfs nosuid,nodev,rprivate,size=1m,mode=1770,exec,uid=5",
        ),
        (dict(tmpfs=["/t:size=1m,size=2m,ro,rw,defaults"]), "/t tmpfs tmpfs noexec,nosuid,nodev,rprivate,size=2m,rw"),
        (
            dict(mount=[{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": MiB, "Mode": 0o1770}}]),
            "/t tmpfs tmpfs noexec,nosuid,nodev,rprivate,mode=1770,size=1048576",
        ),
        (
            dict(mount=[{"Type": "tmpfs", "Target": "/t", "ReadOnly": True}]),
            "/t tmpfs tmpfs noexec,nosuid,nodev,rprivate,ro",
        ),
    ],
)
def test_tmpfs(requested, line):
    assert mounts(**requested)[7] == line


def test_a_mount_of_the_persons_replaces_a_default_one():
    assert mounts(volume=["/h:/etc/hosts:ro"]) == [*DEFAULT[:7], "/etc/hosts bind /h rbind,ro,rprivate", *DEFAULT[7:9]]
    assert [line.split()[0] for line in mounts(volume=["/dev:/dev"])] == [
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
    ]


def test_shared_propagation_opens_the_root():
    assert generate(volume=["/h:/v:rshared"])["linux"]["rootfsPropagation"] == "shared"
    assert "rootfsPropagation" not in generate(volume=["/h:/v:rslave"])["linux"]


def test_the_rest_of_a_default_container():
    spec = generate(command=["sleep", "9"])
    assert spec["process"]["args"] == ["sleep", "9"]
    assert (spec["process"]["cwd"], spec["process"]["oomScoreAdj"], spec["hostname"]) == ("/", 0, ID[:12])
    assert not {"rlimits", "terminal", "noNewPrivileges"} & set(spec["process"])
    linux = spec["linux"]
    assert [entry["type"] for entry in linux["namespaces"]] == ["mount", "network", "uts", "pid", "ipc", "cgroup"]
    assert not any("path" in entry for entry in linux["namespaces"])
    assert linux["cgroupsPath"] == f"/minirun/{ID}"
    assert linux["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    assert " ".join(linux["maskedPaths"]) == (
        "/proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
        "/proc/sched_debug /proc/scsi /sys/firmware"
    )
    assert " ".join(linux["readonlyPaths"]) == "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"
    assert "seccomp" not in linux


def test_device_rules():
    rules = [
        (rule["allow"], rule.get("type"), rule.get("major"), rule.get("minor"), rule["access"])
        for rule in generate()["linux"]["resources"]["devices"]
    ]
    assert rules == [
        (False, None, None, None, "rwm"),
        (True, "c", 1, 5, "rwm"),
        (True, "c", 1, 3, "rwm"),
        (True, "c", 1, 9, "rwm"),
        (True, "c", 1, 8, "rwm"),
        (True, "c", 5, 0, "rwm"),
        (True, "c", 5, 1, "rwm"),
        (False, "c", 10, 229, "rwm"),
    ]


@pytest.mark.parametrize(
    ("requested", "resources"),
    [
        (dict(), {}),
        (dict(memory=64 * MiB), {"memory": {"limit": 67108864, "swap": 134217728}}),
        (dict(memory=64 * MiB, memory_swap=-1), {"memory": {"limit": 67108864, "swap": -1}}),
        (dict(memory_reservation=32 * MiB), {"memory": {"reservation": 33554432}}),
        (dict(cpus=5 * 10**8), {"cpu": {"quota": 50000, "period": 100000}}),
        (dict(cpu_period=50000, cpu_quota=25000), {"cpu": {"quota": 25000, "period": 50000}}),
        (dict(cpu_shares=512, cpuset_cpus="0", cpuset_mems="0"), {"cpu": {"shares": 512, "cpus": "0", "mems": "0"}}),
        (dict(pids_limit=50), {"pids": {"limit": 50}}),
        (dict(pids_limit=-1), {}),
    ],
)
def test_limits(requested, resources):
    found = generate(**requested)["linux"]["resources"]
    found.pop("devices")
    assert found == resources


@pytest.mark.parametrize(
    ("add", "drop", "mask"),
    [
        ([], [], 0xA80425FB),
        (["NET_ADMIN"], [], 0xA80435FB),
        (["net_admin"], [], 0xA80435FB),
        (["CAP_NET_ADMIN"], [], 0xA80435FB),
        ([], ["NET_RAW"], 0xA80405FB),
        ([], ["ALL"], 0),
        (["CHOWN"], ["ALL"], 1),
        (["ALL"], ["SYS_RESOURCE"], 0x3FFEFFFFFF),
        (["all"], [], 0x3FFFFFFFFF),
    ],
)
def test_capabilities(add, drop, mask):
    sets = generate(cap_add=add, cap_drop=drop)["process"]["capabilities"]
    assert {name: capabilities.mask(names) for name, names in sets.items()} == {
        "bounding": mask,
        "effective": mask,
        "permitted": mask,
        "inheritable": 0,
        "ambient": 0,
    }


def test_who_is_not_root_has_only_the_bounding_set():
    sets = generate(users.resolve("1000", None, None), cap_add=["NET_ADMIN"])["process"]["capabilities"]
    assert {name: capabilities.mask(names) for name, names in sets.items()} == {
        "bounding": 0xA80435FB,
        "effective": 0,
        "permitted": 0,
        "inheritable": 0,
        "ambient": 0,
    }


PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTNAME = f"HOSTNAME={ID[:12]}"


@pytest.mark.parametrize(
    ("requested", "image", "env"),
    [
        (dict(), {}, [PATH, HOSTNAME]),
        (dict(tty=True), {}, [PATH, HOSTNAME, "TERM=xterm"]),
        (dict(tty=True, env=["TERM=vt100", "A=1", "B=", "A=2"]), {}, [PATH, HOSTNAME, "TERM=vt100", "A=2", "B="]),
        (dict(env=["PATH=/bin"]), {"Env": ["PATH=/image", "C=3"]}, ["PATH=/bin", HOSTNAME, "C=3"]),
        (dict(env=["C", "HOSTNAME"]), {"Env": ["C=3", "D=4"]}, [PATH, "D=4"]),
        (dict(hostname="box"), {}, [PATH, "HOSTNAME=box"]),
    ],
)
def test_environment(requested, image, env):
    assert generate(image=Image(**image), **requested)["process"]["env"] == env


def test_exec_has_the_containers_environment_and_its_own_over_it():
    record = make(
        env=["A=1", "B=2"], workdir="/srv", cap_add=["NET_ADMIN"], ulimit=[{"Name": "core", "Hard": 0, "Soft": 0}]
    )
    process = specgen.exec_process(record, root(), ["ls"], True, ["A=x", "E=5"])
    assert process["env"] == [PATH, HOSTNAME, "TERM=xterm", "A=x", "B=2", "E=5"]
    assert (process["args"], process["cwd"], process["terminal"]) == (["ls"], "/srv", True)
    assert capabilities.mask(process["capabilities"]["effective"]) == 0xA80435FB
    assert "terminal" not in specgen.exec_process(make(tty=True), root(), ["ls"], False, [])
    assert process["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]


def test_user():
    user = users.resolve("1000:5", None, None, ["10"])
    assert generate(user)["process"]["user"] == {"uid": 1000, "gid": 5, "additionalGids": [5, 10]}


def test_wishes_about_the_process():
    limits = [{"Name": "nofile", "Hard": 200, "Soft": 100}, {"Name": "core", "Hard": -1, "Soft": -1}]
    process = generate(tty=True, workdir="/srv", oom_score_adj=500, security_opt=["no-new-privileges"], ulimit=limits)[
        "process"
    ]
    assert (process["terminal"], process["noNewPrivileges"]) == (True, True)
    assert (process["cwd"], process["oomScoreAdj"]) == ("/srv", 500)
    assert process["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]
    assert "noNewPrivileges" not in generate(security_opt=["no-new-privileges:false"])["process"]


def test_host_network():
    spec = generate(network="host")
    assert [entry["type"] for entry in spec["linux"]["namespaces"]] == ["mount", "uts", "pid", "ipc", "cgroup"]
    assert spec["linux"]["sysctl"] == {}
    assert "/sys sysfs sysfs nosuid,noexec,nodev,ro" in mounts(network="host")
    assert generate(network="none")["linux"]["namespaces"] == generate()["linux"]["namespaces"]


def test_sysctls():
    requested = {"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "1024"}
    values = generate(domainname="example.org", sysctl=requested)["linux"]["sysctl"]
    assert values == {
        "net.ipv4.ip_unprivileged_port_start": "1024",
        "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.domainname": "example.org",
        "net.ipv4.ip_forward": "1",
    }


def test_nothing_is_masked_with_systempaths_unconfined():
    linux = generate(security_opt=["systempaths=unconfined"])["linux"]
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == ([], [])


def test_the_same_record_gives_the_same_spec():
    record = make(memory=64 * MiB, volume=["/h:/v"], tmpfs=["/t"])
    assert specgen.generate(record, root(), OVERLAY, DAEMON) == specgen.generate(record, root(), OVERLAY, DAEMON)
