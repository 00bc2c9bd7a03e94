"""`inspect` of a container, compared with the shape that Docker 20.10 prints: each key, in its place."""

import pytest

from harness.engine_samples import DAEMON, ID, make
from minirun import timestamps
from minirun.engine.container import inspect

ORDER = {
    "": "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver "
    "Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings",
    "State": "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt",
    "HostConfig": "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver "
    "VolumesFrom CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup "
    "Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode "
    "ShmSize Runtime ConsoleSize Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight "
    "BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps "
    "CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices "
    "DeviceCgroupRules DeviceRequests KernelMemory KernelMemoryTCP MemoryReservation MemorySwap "
    "MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps "
    "IOMaximumBandwidth MaskedPaths ReadonlyPaths",
    "GraphDriver": "Data Name",
    "GraphDriver.Data": "LowerDir MergedDir UpperDir WorkDir",
    "Config": "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd Image "
    "Volumes WorkingDir Entrypoint OnBuild Labels",
    "NetworkSettings": "Bridge SandboxID HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen Ports SandboxKey "
    "SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address "
    "GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway MacAddress Networks",
    "NetworkSettings.Networks.bridge": "IPAMConfig Links Aliases NetworkID EndpointID Gateway IPAddress IPPrefixLen "
    "IPv6Gateway GlobalIPv6Address GlobalIPv6PrefixLen MacAddress DriverOpts",
}
ENDPOINT = {
    "Network": "bridge",
    "NetworkID": "e" * 64,
    "EndpointID": "f" * 64,
    "ContainerID": ID,
    "Gateway": "172.17.0.1",
    "IPAddress": "172.17.0.2",
    "IPPrefixLen": 16,
    "MacAddress": "02:42:ac:11:00:02",
    "Interface": "eth0",
    "InterfaceIndex": 7,
    "Bridge": "minirun0",
    "HostInterface": "veth0123456",
}
#: What is plugged in, under a name that no host has in /run/netns.
CABLE = {"Name": "no such name", "Inode": 1, "Endpoints": {"bridge": ENDPOINT}, "Ports": []}
NOTHING = {**CABLE, "Endpoints": {}}


class Status:
    """As the engine computes it."""

    def __init__(
        self,
        word="running",
        exit_code=0,
        pid=3347,
        started_at="2026-11-23T03:18:38.875237885Z",
        finished_at=timestamps.ZERO,
    ):
        self.state, self.exit_code, self.pid = word, exit_code, pid
        self.started_at, self.finished_at = started_at, finished_at
        self.oom_killed, self.error = False, ""


def described(status=None, cable=CABLE, mode="default", **requested):
    return inspect.describe(make(network=mode, **requested), status or Status(), cable, DAEMON)


def at(value, path):
    for key in filter(None, path.split(".")):
        value = value[key]
    return value


@pytest.mark.parametrize("path", ORDER)
def test_keys_in_dockers_order(path):
    assert list(at(described(memory=100 << 20), path)) == ORDER[path].split()


def test_values_of_a_running_container():
    shown = described(command=["sleep", "1000"], memory=104857600, detach=True, label=["k=v"])
    assert (shown["Id"], shown["Path"], shown["Args"], shown["Name"]) == (ID, "sleep", ["1000"], "/w1")
    assert shown["State"] == {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 3347,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-23T03:18:38.875237885Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    assert shown["LogPath"] == f"/DATA/containers/{ID}/{ID}-json.log"
    assert shown["ResolvConfPath"] == f"/DATA/containers/{ID}/resolv.conf"
    host = shown["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NetworkMode"], host["ShmSize"]) == (
        104857600,
        209715200,
        "default",
        67108864,
    )
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert (host["Runtime"], host["CgroupnsMode"]) == ("minirun", "private")
    nothing = {key for key, value in host.items() if value is None}
    assert nothing == {
        "Binds",
        "VolumesFrom",
        "CapAdd",
        "CapDrop",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "SecurityOpt",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "DeviceCgroupRules",
        "DeviceRequests",
        "MemorySwappiness",
        "PidsLimit",
        "Ulimits",
    }
    assert {key for key, value in host.items() if value == []} == {
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "BlkioWeightDevice",
        "Devices",
    }


def test_network_of_a_running_container():
    settings = described()["NetworkSettings"]
    for place in (settings, settings["Networks"]["bridge"]):
        assert (place["Gateway"], place["IPAddress"], place["IPPrefixLen"], place["MacAddress"]) == (
            "172.17.0.1",
            "172.17.0.2",
            16,
            "02:42:ac:11:00:02",
        )
        assert place["EndpointID"] == "f" * 64
    assert settings["Networks"]["bridge"]["NetworkID"] == "e" * 64
    assert settings["SandboxKey"] == "/proc/3347/ns/net"
    assert len(settings["SandboxID"]) == 64


def test_network_of_one_that_does_not_run():
    settings = described(Status("exited"), NOTHING)["NetworkSettings"]
    assert (settings["IPAddress"], settings["IPPrefixLen"], settings["MacAddress"]) == ("", 0, "")
    assert (settings["SandboxKey"], settings["SandboxID"]) == ("", "")
    assert list(settings["Networks"]) == ["bridge"]


@pytest.mark.parametrize("mode", ["none", "host"])
def test_networks_without_a_cable(mode):
    settings = described(cable=NOTHING, mode=mode)["NetworkSettings"]
    assert list(settings["Networks"]) == [mode]
    assert settings["Networks"][mode]["IPAddress"] == settings["IPAddress"] == ""
    assert settings["SandboxKey"] == "/proc/3347/ns/net"


def test_one_on_networks_of_the_users_own_has_no_top_level():
    wish = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.6.0.77"}}
    foo = {
        **ENDPOINT,
        "Network": "foo",
        "IPv6Gateway": "2001:db8::1",
        "GlobalIPv6Address": "2001:db8::2",
        "GlobalIPv6PrefixLen": 64,
    }
    settings = described(cable={**CABLE, "Endpoints": {"foo": foo}}, mode="foo", endpoint=wish)["NetworkSettings"]
    assert (settings["IPAddress"], settings["MacAddress"], settings["EndpointID"]) == ("", "", "")
    assert (
        settings["Networks"]["foo"].items()
        >= {**wish, "IPAddress": "172.17.0.2", "GlobalIPv6Address": "2001:db8::2", "GlobalIPv6PrefixLen": 64}.items()
    )


def test_one_that_shares_anothers_network_has_its_files_and_nothing_of_its_own():
    shown = described(cable=NOTHING, mode=f"container:{'d' * 64}")
    settings = shown["NetworkSettings"]
    assert (settings["Networks"], settings["SandboxID"], settings["SandboxKey"]) == ({}, "", "")
    assert shown["HostsPath"] == f"/DATA/containers/{'d' * 64}/hosts"
    assert shown["LogPath"] == f"/DATA/containers/{ID}/{ID}-json.log"


def test_the_id_of_a_network_outlives_the_run():
    record = make()
    record["Networks"]["bridge"]["NetworkID"] = "e" * 64
    settings = inspect.describe(record, Status("exited"), NOTHING, DAEMON)["NetworkSettings"]
    assert (settings["Networks"]["bridge"]["NetworkID"], settings["EndpointID"]) == ("e" * 64, "")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status("exited", 137, 0), dict(Running=False, Pid=0, ExitCode=137)),
        (Status("exited", 137, 99), dict(Running=False, Pid=0)),
        (Status("paused"), dict(Running=True, Paused=True, Pid=3347)),
        (Status("restarting", 1, 0), dict(Running=True, Restarting=True, Pid=0, ExitCode=1)),
        (Status("running", 3), dict(Running=True, ExitCode=0)),
        (Status("dead", 0, None), dict(Running=False, Dead=True, Pid=0)),
        (Status("created", 127, None), dict(Running=False, ExitCode=127, Status="created")),
    ],
)
def test_state(status, state):
    assert described(status)["State"].items() >= state.items()


def test_a_container_that_was_never_started_has_no_files_yet():
    shown = described(Status("created", 0, 0, timestamps.ZERO), NOTHING)
    assert [shown[key] for key in ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath")] == [""] * 4


def test_what_the_status_says_of_the_end():
    status = Status("exited", 137)
    status.oom_killed, status.error = True, "no luck"
    state = inspect.describe(make(), status, NOTHING, DAEMON)["State"]
    assert (state["OOMKilled"], state["Error"]) == (True, "no luck")


def test_mounts_and_graph_driver(tmp_path):
    shown = described(
        volume=[f"{tmp_path}:/x:ro"],
        mount=[{"Type": "bind", "Source": "/", "Target": "/y", "BindOptions": {"NonRecursive": True}}],
    )
    keys = ["Type", "Source", "Destination", "Mode", "RW", "Propagation"]
    assert [list(mount) for mount in shown["Mounts"]] == [keys, keys]
    assert list(shown["Mounts"][0].values()) == ["bind", str(tmp_path), "/x", "ro", False, "rprivate"]
    (volume,) = described(volume=["name:/x:ro"])["Mounts"]
    assert list(volume) == ["Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation"]
    data = shown["GraphDriver"]["Data"]
    lower = data["LowerDir"].split(":")
    layers = "/DATA/images/layers/"
    assert lower == [f"{layers}{'b' * 64}-init", layers + "b" * 64, layers + "a" * 64]  # the highest layer first
    assert (data["UpperDir"], data["MergedDir"]) == (f"/DATA/containers/{ID}/upper", f"/RUN/containers/{ID}/rootfs")
