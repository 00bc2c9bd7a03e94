"""The record of a container: Docker's merging of what is requested with the image's defaults, and each text with which its daemon refuses one."""

import pytest

from harness.engine_samples import ID, Image, make
from minirun.cli.run.options import RUN
from minirun.engine.container import validate
from minirun.engine.options import CreateOptions
from minirun.engine.shim import signals
from minirun.engine.volume import mountpoints
from minirun.errors import BadParameter, EngineError

MiB = 1 << 20


def refusal(kind=BadParameter, **requested):
    with pytest.raises(EngineError) as caught:
        make(**requested)
    assert type(caught.value) is kind
    return caught.value.message


@pytest.mark.parametrize(
    ("requested", "text"),
    [
        (dict(memory=4 * MiB), "Minimum memory limit allowed is 6MB"),
        (dict(memory=-1), "Minimum memory limit allowed is 6MB"),
        (
            dict(memory=64 * MiB, memory_reservation=128 * MiB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (dict(memory_reservation=4 * MiB), "Minimum memory reservation allowed is 6MB"),
        (dict(memory_swap=128 * MiB), "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            dict(memory=64 * MiB, memory_swap=32 * MiB),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (dict(cpus=99 * 10**9), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (dict(cpus=-(10**9)), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (dict(cpus=10**9, cpu_period=50000), "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        (dict(cpus=10**9, cpu_quota=50000), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (dict(cpu_period=999), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        (dict(cpu_quota=999), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (dict(cpuset_cpus="9"), "Requested CPUs are not available - requested 9, available: 0-1"),
        (dict(cpuset_cpus="1-0"), "Invalid value 1-0 for cpuset cpus"),
        (dict(cpuset_cpus="0-99999999999"), "Invalid value 0-99999999999 for cpuset cpus"),
        (dict(cpuset_mems="3"), "Requested memory nodes are not available - requested 3, available: 0"),
        (dict(oom_score_adj=2000), "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (dict(shm_size=-1), "SHM size can not be less than 0"),
        (dict(cap_add=["NOSUCH"]), 'invalid CapAdd: unknown capability: "CAP_NOSUCH"'),
        (dict(cap_drop=["cap_bpf"]), 'invalid CapDrop: unknown capability: "CAP_BPF"'),
        (dict(stop_signal="BOGUS"), "Invalid signal: BOGUS"),
        (dict(workdir="rel"), "the working directory 'rel' is invalid, it needs to be an absolute path"),
        (dict(command=[]), "No command specified"),
        (dict(entrypoint="", command=[]), "No command specified"),
        (dict(security_opt=["bogus=1"]), 'invalid --security-opt 2: "bogus=1"'),
        (dict(security_opt=["seccomp=/profile.json"]), "minirun cannot do --security-opt seccomp=/profile.json yet"),
        # mounts
        (
            dict(mount=[{"Type": "bind", "Source": "/host/nope", "Target": "/v"}]),
            'invalid mount config for type "bind": bind source path does not exist: /host/nope',
        ),
        (
            dict(mount=[{"Type": "bind", "Target": "/v"}]),
            'invalid mount config for type "bind": field Source must not be empty',
        ),
        (
            dict(mount=[{"Type": "bind", "Source": "rel", "Target": "/v"}]),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            dict(mount=[{"Type": "bind", "Source": "/", "Target": "/v", "BindOptions": {"Propagation": "x"}}]),
            'invalid mount config for type "bind": invalid propagation mode: x',
        ),
        (dict(mount=[{"Type": "bogus", "Target": "/v"}]), 'invalid mount config for type "bogus": mount type unknown'),
        (
            dict(mount=[{"Type": "tmpfs", "Source": "x", "Target": "/v"}]),
            'invalid mount config for type "tmpfs": field Source must not be specified',
        ),
        (
            dict(volume=["rel/path:/v"]),
            'create rel/path: "rel/path" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (
            dict(volume=["/host/d:rel"]),
            "invalid volume specification: '/host/d:rel': invalid mount config for type \"bind\": "
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (dict(volume=["/host/d:/v:bad"]), "invalid mode: bad"),
        (dict(volume=["/host/d:/v:ro,rw"]), "invalid mode: ro,rw"),
        (
            dict(volume=["/host/d:/"]),
            "invalid volume specification: '/host/d:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            dict(volume=["/host/d:/.."]),
            "invalid volume specification: '/host/d:/..': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (dict(volume=["/v:ro"]), "invalid volume specification: '/v:ro'"),
        (dict(volume=["/a:/v:ro:x"]), "invalid volume specification: '/a:/v:ro:x'"),
        (dict(volume=[":/v"]), "invalid volume specification: ':/v'"),
        (dict(volume=["/a:/v", "/b:/v/"]), "Duplicate mount point: /v"),
        (
            dict(volume=["a:/v"]),
            "create a: volume name is too short, names should be at least two alphanumeric characters",
        ),
        (
            dict(volume=["name:/"]),
            "invalid volume specification: 'name:/': invalid mount config for type \"volume\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            dict(volume=["name:v"]),
            "invalid volume specification: 'name:v': invalid mount config for type \"volume\": "
            "invalid mount path: 'v' mount path must be absolute",
        ),
        (
            dict(volume=["v"]),
            "invalid volume specification: 'v': invalid mount config for type \"volume\": "
            "invalid mount path: 'v' mount path must be absolute",
        ),
        (
            dict(volume=["name:/v:rshared"]),
            "invalid volume specification: 'name:/v:rshared': invalid mount config for type "
            '"volume": field BindOptions must not be specified',
        ),
        (
            dict(volume=["/a:/v:nocopy"]),
            "invalid volume specification: '/a:/v:nocopy': invalid mount config for type "
            '"bind": field VolumeOptions must not be specified',
        ),
        (dict(volume=["one:/v", "two:/v/"]), "Duplicate mount point: /v"),
        (dict(volume=["/a:/v"], tmpfs=["/v"]), "Duplicate mount point: /v"),
        (dict(volume=["one:/v"], mount=[{"Type": "volume", "Target": "/v"}]), "Duplicate mount point: /v"),
        (
            dict(mount=[{"Type": "volume", "Target": "/v", "ReadOnly": True}]),
            'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes',
        ),
        (
            dict(mount=[{"Type": "volume", "Source": "/a", "Target": "/v"}]),
            'create /a: "/a" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            "allowed. If you intended to pass a host directory, use absolute path",
        ),
        (
            dict(
                mount=[
                    {
                        "Type": "volume",
                        "Source": "ab",
                        "Target": "/v",
                        "VolumeOptions": {"DriverConfig": {"Name": "nfs"}},
                    }
                ]
            ),
            'create ab: error looking up volume plugin nfs: plugin "nfs" not found',
        ),
        (
            dict(
                mount=[
                    {
                        "Type": "volume",
                        "Source": "ab",
                        "Target": "/v",
                        "VolumeOptions": {"DriverConfig": {"Options": {"foo": "1"}}},
                    }
                ]
            ),
            'create ab: invalid option: "foo"',
        ),
        (
            dict(
                mount=[
                    {
                        "Type": "volume",
                        "Source": "ab",
                        "Target": "/v",
                        "VolumeOptions": {"DriverConfig": {"Options": {"type": "nfs", "device": ":/x"}}},
                    }
                ]
            ),
            "create ab: minirun cannot mount anything for a volume yet, nor limit its size: it has no option device, type",
        ),
        (dict(tmpfs=["t"]), "invalid mount path: 't' mount path must be absolute"),
        (dict(tmpfs=["/"]), "invalid specification: destination can't be '/'"),
        (dict(network="container:"), "Invalid network mode: invalid container format container:<name|id>"),
        (dict(network="container:x", hostname="h"), "conflicting options: hostname and the network mode"),
        (dict(network="container:x", dns=["192.0.2.1"]), "conflicting options: dns and the network mode"),
        (
            dict(network="container:x", add_host=["a:192.0.2.1"]),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            dict(network="container:x", mac_address="02:11:22:33:44:55"),
            "conflicting options: mac-address and the network mode",
        ),
        (
            dict(network="host", mac_address="02:11:22:33:44:55"),
            "conflicting options: mac-address and the network mode",
        ),
        (dict(network="foo", endpoint={"IPAMConfig": {"IPv4Address": "300.1.1.1"}}), "invalid IPv4 address: 300.1.1.1"),
        (dict(network="foo", endpoint={"IPAMConfig": {"IPv4Address": "::1"}}), "invalid IPv4 address: ::1"),
        (dict(network="host", endpoint={"IPAMConfig": {"IPv6Address": "1.2.3.4"}}), "invalid IPv6 address: 1.2.3.4"),
        (dict(tmpfs=["/t:bogus"]), 'Invalid tmpfs option ["bogus"]'),
        (dict(tmpfs=["/t:huge=always"]), 'Invalid tmpfs option ["huge" "always"]'),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_dockers_words(requested, text):
    assert refusal(**requested) == text


@pytest.mark.parametrize(
    ("requested", "text"),
    [
        (
            dict(network="host", sysctl={"net.ipv4.ip_forward": "1"}),
            'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
        ),
    ],
)
def test_what_docker_finds_out_at_the_start_is_no_bad_parameter(requested, text):
    """`run` adds "See 'minirun run --help'." to a BadParameter only."""
    assert refusal(EngineError, **requested) == text


def test_values_at_the_border_are_taken():
    make(memory=6 * MiB, cpus=2 * 10**9, oom_score_adj=-1000, cpuset_cpus="0-1", cpuset_mems="0", memory_swap=-1)
    make(cpu_period=1000, cpu_quota=-1)


def test_the_count_of_cpus_is_that_of_the_machine():
    import os

    assert validate.Host().cpus == len(os.sched_getaffinity(0))
    assert validate.cpuset(validate.Host().available("cpu")) >= os.sched_getaffinity(0)


def test_config_of_a_plain_container():
    record = make(command=["sleep", "1000"], detach=True, label=["k=v", "c"])
    assert (record["Path"], record["Args"], record["Name"], record["ID"]) == ("sleep", ["1000"], "/w1", ID)
    assert record["Config"] == {
        "Hostname": "0123456789ab",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": None,
        "Cmd": ["sleep", "1000"],
        "Image": "alpine",
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": {"k": "v", "c": ""},
    }
    assert record["LayerIDs"] == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
    assert record["State"]["StartedAt"] == "0001-01-01T00:00:00Z"


STREAMS = ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce")


@pytest.mark.parametrize(
    ("requested", "true"),
    [
        (dict(interactive=True, tty=True), STREAMS),
        (dict(interactive=True, tty=True, detach=True), ("Tty", "OpenStdin")),
        (dict(), ("AttachStdout", "AttachStderr")),
        (dict(attach=["stderr"]), ("AttachStderr",)),
        (dict(attach=["stdin"], interactive=True), ("AttachStdin", "OpenStdin", "StdinOnce")),
    ],
)
def test_streams(requested, true):
    config = make(**requested)["Config"]
    assert [key for key in STREAMS if config[key]] == list(true)


@pytest.mark.parametrize(
    ("requested", "image", "command"),
    [
        (dict(command=[]), dict(Cmd=["sh"]), ["sh"]),
        (dict(command=["ls"]), dict(Cmd=["sh"]), ["ls"]),
        (dict(command=[]), dict(Entrypoint=["/init"], Cmd=["x"]), ["/init", "x"]),
        (dict(command=["y"]), dict(Entrypoint=["/init"], Cmd=["x"]), ["/init", "y"]),
        (dict(command=["a", "b"], entrypoint="echo"), dict(Entrypoint=["/init"], Cmd=["x"]), ["echo", "a", "b"]),
        (
            dict(command=[], entrypoint="echo"),
            dict(Entrypoint=["/init"], Cmd=["x"]),
            ["echo"],
        ),  # --entrypoint clears Cmd
        (dict(command=["a"], entrypoint=""), dict(Entrypoint=["/init"], Cmd=["x"]), ["a"]),
    ],
)
def test_entrypoint_and_command(requested, image, command):
    record = make(Image(**image), **requested)
    assert [record["Path"], *record["Args"]] == command


def test_wishes_come_before_the_image():
    image = Image(
        Env=["PATH=/image", "A=1", "B=2"],
        User="nobody",
        WorkingDir="/srv",
        Labels={"a": "1", "b": "2"},
        StopSignal="SIGUSR1",
        Volumes={"/data": {}},
    )
    config = make(image)["Config"]
    assert config["Env"] == ["PATH=/image", "A=1", "B=2"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("nobody", "/srv", "SIGUSR1")
    config = make(image, env=["B=mine", "A"], user="0", workdir="/", label=["b=x"], stop_signal="9", stop_timeout=0)[
        "Config"
    ]
    assert config["Env"] == ["B=mine", "A", "PATH=/image"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("0", "/", "9")
    assert config["Labels"] == {"a": "1", "b": "x"}
    assert config["StopTimeout"] == 0  # "kill at once" is not "nothing said"


def test_host_network_has_the_hosts_name_unless_another_is_asked_for():
    assert make(network="host")["Config"]["Hostname"] == "lecture-hall"
    assert make(network="host", hostname="hh")["Config"]["Hostname"] == "hh"


@pytest.mark.parametrize(
    ("requested", "swap"),
    [
        (dict(memory=64 * MiB), 128 * MiB),
        (dict(memory=64 * MiB, memory_swap=-1), -1),
        (dict(), 0),
        (dict(memory=64 * MiB, memory_swap=64 * MiB), 64 * MiB),
    ],
)
def test_swap_is_twice_the_memory_by_default(requested, swap):
    assert make(**requested)["HostConfig"]["MemorySwap"] == swap


def test_limits_that_say_nothing():
    assert make(pids_limit=-1)["HostConfig"]["PidsLimit"] is None
    assert make(pids_limit=50)["HostConfig"]["PidsLimit"] == 50
    assert make()["HostConfig"]["ShmSize"] == 67108864


def test_mount_points(tmp_path):
    directory = str(tmp_path)
    record = make(
        volume=[f"{directory}:/x:ro", f"{directory}//sub/../y:/v/"],
        mount=[
            {"Type": "bind", "Source": directory, "Target": "/m", "ReadOnly": True},
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": MiB}},
        ],
    )
    assert record["MountPoints"] == [
        {
            "Type": "bind",
            "Source": directory,
            "Destination": "/x",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        },
        {
            "Type": "bind",
            "Source": f"{directory}/y",
            "Destination": "/v",
            "Mode": "",
            "RW": True,
            "Propagation": "rprivate",
        },
        {"Type": "bind", "Source": directory, "Destination": "/m", "Mode": "", "RW": False, "Propagation": "rprivate"},
        {
            "Type": "tmpfs",
            "Source": "",
            "Destination": "/t",
            "Mode": "",
            "RW": True,
            "Propagation": "",
            "TmpfsOptions": {"SizeBytes": MiB},
        },
    ]
    # -v makes what is missing, --mount never does
    assert mountpoints.missing_sources(record) == [f"{directory}/y"]


def volume(name, destination, mode="", **more):
    return {
        "Type": "volume",
        "Name": name,
        "Source": "",
        "Destination": destination,
        "Driver": "local",
        "Mode": mode,
        "RW": True,
        "Propagation": "",
        **more,
    }


def test_volumes():
    record = make(
        Image(Volumes={"/data": {}, "/lib/x/../y": {}, "/bound": {}, "/t": {}, "/named": {}}),
        tmpfs=["/t"],
        volume=["/anon", "name:/named:ro,nocopy", "na.m-e_2://x//y/", "/h:/bound"],
        mount=[
            {
                "Type": "volume",
                "Source": "third",
                "Target": "/third",
                "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}},
            },
            {"Type": "volume", "Target": "/m"},
        ],
    )
    assert record["Config"]["Volumes"] == {
        path: {} for path in ("/anon", "/bound", "/data", "/lib/x/../y", "/named", "/t")
    }
    assert record["HostConfig"]["Binds"] == ["name:/named:ro,nocopy", "na.m-e_2://x//y/", "/h:/bound"]
    # what has another thing mounted over it, be it a tmpfs, is no volume
    assert [point for point in record["MountPoints"] if point["Type"] == "volume"] == [
        volume("name", "/named", "ro,nocopy", RW=False, NoCopy=True),
        volume("na.m-e_2", "/x/y", "z"),
        volume("third", "/third", "z", NoCopy=True, Labels={"a": "b"}),
        volume("", "/m", "z"),
        volume("", "/anon"),
        volume("", "/data"),
        volume("", "/lib/y"),
    ]
    assert mountpoints.missing_sources(record) == ["/h"]
    assert make()["Config"]["Volumes"] is None


@pytest.mark.parametrize(
    ("path", "destination"),
    [("../../x", "/x"), ("x", "/x"), ("//x/./y/..", "/x"), ("/a b\n", "/a b\n"), ("/\udcff", "/\udcff")],
)
def test_an_image_names_paths_of_its_own_only(path, destination):
    assert [point["Destination"] for point in make(Image(Volumes={path: {}}))["MountPoints"]] == [destination]


@pytest.mark.parametrize("path", ["", "/", "..", "/../.", "/a\0b", "/\ud800"])
def test_an_image_with_a_volume_that_can_be_none_is_refused(path):
    with pytest.raises(BadParameter, match="invalid volume specification"):
        make(Image(Volumes={path: {}}))


def test_a_health_check_is_shown():
    check = {"Test": ["CMD", "true"], "Retries": 2}
    assert make(Image(Healthcheck=check))["Config"]["Healthcheck"] == check
    assert make(Image(Healthcheck=check), no_healthcheck=True)["Config"]["Healthcheck"] == {
        "Test": ["NONE"],
        "Retries": 2,
    }
    assert make(no_healthcheck=True)["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert "Healthcheck" not in make()["Config"]


def test_a_source_below_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make(volume=["./d:/v", ".:/w:ro"])["HostConfig"]["Binds"] == [f"{tmp_path}/d:/v", f"{tmp_path}:/w:ro"]


MOUNTINFO = """\
24 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 24 0:26 / /home rw shared:7 - tmpfs tmpfs rw
31 24 0:27 / /host/d rw master:3 - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("source", "mode", "text"),
    [
        ("/host", "rshared", "path /host is mounted on / but it is not a shared mount"),
        ("/homework", "rslave", "path /homework is mounted on / but it is not a shared or slave mount"),
        ("/host/d/e", "shared", "path /host/d/e is mounted on /host/d but it is not a shared mount"),
        ("/host/d/e", "slave", None),
        ("/home/x", "rshared", None),
        ("/", "rprivate", None),
    ],
)
def test_propagation_needs_a_mount_that_propagates(source, mode, text):
    point = make(volume=[f"{source}:/v:{mode}"])["MountPoints"][0]
    if text is None:
        mountpoints.validate_propagation(point, MOUNTINFO)
    else:
        with pytest.raises(EngineError) as caught:
            mountpoints.validate_propagation(point, MOUNTINFO)
        assert (type(caught.value), caught.value.message) == (EngineError, text)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigkill", 9),
        ("10", 10),
        ("USR1", 10),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("64", 64),
    ],
)
def test_signals(word, number):
    assert signals.number(word) == number


@pytest.mark.parametrize(
    "word", ["BOGUS", "0", "65", "-1", "", "_DFL", "SIG_IGN", "RTMIN+99", "RTMIN+x", "TERM+1", "²"]
)
def test_no_signals(word):
    with pytest.raises(BadParameter, match="^Invalid signal: "):
        signals.number(word)


def test_a_field_is_what_the_command_line_gives():
    """The fields that are named after a flag have its type, and its value when it is not given."""
    fields = CreateOptions.__annotations__
    flags = {option.name: option for option in RUN if option.name in fields and option.name not in ("network",)}
    assert len(flags) > 45
    types = {"str": str, "str | None": str, "bool": bool, "int": int, "int | None": int, "Mapping[str, str]": dict}
    for name, flag in flags.items():
        assert flag.kind.empty is types.get(fields[name], list), name
        assert bool(getattr(CreateOptions, name)) == bool(flag.initial()), name
    # What the CLI makes of several flags.
    assert set(fields) - set(flags) == {"image", "command", "network", "endpoint", "port_bindings", "exposed_ports"}


def test_options_are_not_changed():
    options = CreateOptions(image="alpine", memory=64 * MiB)
    with pytest.raises(AttributeError):
        options.memory = 0
    assert (options.replace(memory=0).memory, options.memory) == (0, 64 * MiB)
    with pytest.raises(TypeError, match="memry"):
        CreateOptions(image="alpine", memry=1)
    with pytest.raises(TypeError, match="image"):
        CreateOptions()
