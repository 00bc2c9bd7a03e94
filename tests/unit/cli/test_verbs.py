"""The verbs over a made-up engine: what they ask of it, what they print, and their exit codes."""

import json
import time
from types import SimpleNamespace

import pytest

import minirun.engine.check
from minirun import timestamps
from minirun.cli import commands, main, system
from minirun.cli.container import ps
from minirun.cli.image import pull_push
from minirun.cli.parser.grammar import read
from minirun.cli.run import run
from minirun.engine import info, remove, start, stop
from minirun.engine.container import index
from minirun.engine.shim import logs as engine_logs
from minirun.errors import BadParameter, ClientError, EngineError, NoSuchContainer, NoSuchImage

NOW = time.time_ns()


def moment(seconds_ago):
    return timestamps.rfc3339_nano(NOW - seconds_ago * 10**9)


class State:
    def __init__(self, word, code=0, started=0, finished=0):
        self.state, self.exit_code, self.pid = word, code, 7 if word == "running" else 0
        self.started_at, self.finished_at = moment(started), moment(finished)


class Made:
    """A container as the engine would show it."""

    def __init__(self, name, state, command=("sleep", "1000"), created=3, image="alpine", **config):
        self.id = (name.encode().hex() * 64)[:64]
        self.name, self.state, self.daemon = name, state, None
        self.record = {
            "ID": self.id,
            "Name": f"/{name}",
            "Created": moment(created),
            "Path": command[0],
            "Args": list(command[1:]),
            "ImageName": image,
            "Image": f"sha256:{'5' * 64}",
            "MountPoints": [],
            "Config": {"Labels": {}, **config},
            "HostConfig": {"NetworkMode": "default"},
            "Networks": {"bridge": {"NetworkID": "e" * 64}},
        }

    def status(self):
        return self.state

    def ports(self):
        return dict.fromkeys(self.record["Config"].get("ExposedPorts") or {})


@pytest.fixture
def made(monkeypatch):
    """Containers that exist, newest first; fill the list."""
    known = []

    def find(_daemon, word):
        for container in known:
            if word == container.name or container.id.startswith(word):
                return container
        raise NoSuchContainer(word)

    monkeypatch.setattr(index, "every", lambda _daemon: list(known))
    monkeypatch.setattr(index, "find", find)
    monkeypatch.setattr(ps, "_meanings", {"alpine": f"sha256:{'5' * 64}", "gone": ""})
    monkeypatch.setattr(ps, "_changed", [2**63])  # an image was made or removed after all of them
    monkeypatch.setattr(ps.time, "time_ns", lambda: NOW)
    monkeypatch.setattr(info, "sizes", lambda container: (0, 23_100_000))
    return known


def served(capsys, *words):
    code = main.serve(list(words))
    out, err = capsys.readouterr()
    return code, out, err


# ---- ps ----


def test_an_empty_ps(made, capsys):
    assert served(capsys, "ps") == (0, "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n", "")


def fill(made):
    made += [
        Made("pa", State("paused", started=2), created=3),
        Made("cr", State("created"), ("echo", "a long command line"), created=3),
        Made("ex3", State("exited", 3, 4, 3), ("sh", "-c", "exit 3"), created=4),
        Made("re", State("restarting", 0, 4, 1), ("true",), created=4),
        Made(
            "run1",
            State("running", started=4),
            created=65,
            image="gone",
            Labels={"a": "b", "c": ""},
            ExposedPorts={"80/tcp": {}},
        ),
    ]


def test_ps_of_all_states(made, capsys):
    fill(made)
    code, out, err = served(capsys, "ps", "-a")
    assert (code, err) == (0, "")
    # cut into halves: the lines are wider than this file
    assert [line[:63].rstrip() for line in out.splitlines()] == [
        "CONTAINER ID   IMAGE          COMMAND                  CREATED",
        '706170617061   alpine         "sleep 1000"             3 second',
        '637263726372   alpine         "echo \'a long comman…"   3 second',
        "657833657833   alpine         \"sh -c 'exit 3'\"         4 second",
        '726572657265   alpine         "true"                   4 second',
        '72756e317275   555555555555   "sleep 1000"             About a',
    ]
    assert [line[55:] for line in out.splitlines()] == [
        "CREATED              STATUS                        PORTS     NAMES",
        "3 seconds ago        Up 2 seconds (Paused)                   pa",
        "3 seconds ago        Created                                 cr",
        "4 seconds ago        Exited (3) 3 seconds ago                ex3",
        "4 seconds ago        Restarting (0) 1 second ago             re",
        "About a minute ago   Up 4 seconds                  80/tcp    run1",
    ]


def test_ps_shows_what_runs(made, capsys):
    fill(made)
    assert served(capsys, "ps", "--format", "{{.Names}}")[1].split() == ["pa", "re", "run1"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["-n", "2"], "pa cr"),
        (["-l"], "pa"),
        (["-f", "status=exited"], "ex3"),
        (["-f", "status=exited", "-f", "status=created"], "cr ex3"),
        (["-a", "-f", "exited=3"], "ex3"),
        (["-a", "-f", "exited=0"], ""),
        (["-a", "-f", "name=r"], "cr re run1"),
        (["-a", "-f", "name=^r"], "re run1"),
        (["-a", "-f", "name=r.n"], "run1"),
        (["-a", "-f", "name=/pa"], "pa"),
        (["-a", "-f", "label=a=b"], "run1"),
        (["-a", "-f", "label=a=x"], ""),
        (["-a", "-f", "label=a"], "run1"),
        (["-a", "-f", "before=ex3"], "run1"),
        (["-a", "-f", "since=ex3"], "pa cr"),
        (["-a", "-f", "id=7061"], "pa"),
        (["-a", "-f", "network=host"], ""),
        (["-a", "-f", "name=r", "-f", "status=running"], "run1"),
    ],
)
def test_which_containers(made, capsys, words, names):
    fill(made)
    code, out, err = served(capsys, "ps", *words, "--format", "{{.Names}}")
    assert (code, out.split(), err) == (0, names.split(), "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-f", "bogus=1"], "Error response from daemon: Invalid filter 'bogus'\n"),
        (["-f", "status=bogus"], "Error response from daemon: Invalid filter 'status=bogus'\n"),
        (
            ["--format", "{{.Nope}}"],
            'failed to execute template: template: :1:2: executing "" at <.Nope>: can\'t evaluate '
            "field Nope in type *formatter.ContainerContext\n",
        ),
        (["--format", "{{"], "failed to parse template: template: :1: unclosed action\n"),
    ],
)
def test_bad_questions(made, capsys, words, text):
    assert served(capsys, "ps", *words) == (1, "", text)


def test_ps_as_json_has_all_fields_in_order(made, capsys):
    made.append(Made("pa", State("paused", started=2), created=4, Labels={"a": "b", "c": ""}))
    row = json.loads(served(capsys, "ps", "--format", "{{json .}}")[1])
    assert " ".join(row) == (
        "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Ports RunningFor Size State Status"
    )
    assert row["Command"] == '"sleep 1000"'
    assert row["Labels"] == "a=b,c="
    assert row["Size"] == "0B (virtual 23.1MB)"
    assert row["RunningFor"] == "4 seconds ago"
    assert row["Networks"] == "bridge"
    assert time.strptime(row["CreatedAt"].rsplit(" ", 1)[0], "%Y-%m-%d %H:%M:%S %z")


def test_sizes_are_measured_only_when_asked_for(made, capsys, monkeypatch):
    fill(made)
    monkeypatch.setattr(info, "sizes", lambda container: pytest.fail("this walks through all files"))
    assert served(capsys, "ps", "-a")[0] == 0
    assert served(capsys, "ps", "-a", "--format", "{{.ID}}")[0] == 0


def test_quiet_and_full_ids(made, capsys):
    fill(made)
    assert served(capsys, "ps", "-lq")[1] == "706170617061\n"
    assert served(capsys, "ps", "-lq", "--no-trunc")[1] == made[0].id + "\n"
    assert "\"echo 'a long command line'\"" in served(capsys, "ps", "-a", "--no-trunc")[1]


# ---- start stop kill rm wait ----


@pytest.fixture
def engine(monkeypatch, made):
    """Records what the verbs ask of the engine; `engine.answers[name]` is returned, or raised."""
    made += [Made("a", State("running")), Made("b", State("exited"))]

    class Engine:
        pass

    def doing(name):
        def do(container, *words, **settings):
            Engine.asked.append((name, container.name, *words, *settings.items()))
            answer = Engine.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return do

    verbs = {start: ("start", "restart"), stop: ("stop", "kill", "wait"), remove: ("remove",)}
    for module, names in verbs.items():
        for name in names:
            monkeypatch.setattr(module, name, doing(name))
    Engine.asked = []
    Engine.answers = {"wait": 137}
    return Engine


def test_success_prints_the_name_as_it_was_typed(engine, capsys):
    short = index.find(None, "a").id[:5]
    assert served(capsys, "kill", "a", short) == (0, f"a\n{short}\n", "")
    assert engine.asked == [("kill", "a", "KILL"), ("kill", "a", "KILL")]
    assert served(capsys, "wait", "a", "b") == (0, "137\n137\n", "")


def test_stop_hands_the_time_on(engine, capsys):
    assert served(capsys, "stop", "a") == (0, "a\n", "")
    assert served(capsys, "stop", "-t", "3", "a") == (0, "a\n", "")
    assert served(capsys, "restart", "-t0", "a") == (0, "a\n", "")
    assert engine.asked == [("stop", "a", None), ("stop", "a", 3), ("restart", "a", 0)]


def test_a_failure_does_not_end_the_others(engine, capsys):
    assert served(capsys, "rm", "nosuch", "a") == (1, "a\n", "Error: No such container: nosuch\n")
    assert served(capsys, "rm", "-f", "a", "nosuch") == (0, "a\n", "Error: No such container: nosuch\n")
    text = "Error response from daemon: No such container: nosuch\n"
    assert served(capsys, "stop", "nosuch", "a") == (1, "a\n", text)
    assert served(capsys, "start", "nosuch", "a") == (1, "a\n", text + "Error: failed to start containers: nosuch\n")


def test_rm_refuses_what_runs(engine, capsys):
    text = "You cannot remove a running container 6161. Stop the container before attempting removal or force remove"
    engine.answers["remove"] = EngineError(text, exit_code=1)
    assert served(capsys, "rm", "a") == (1, "", f"Error response from daemon: {text}\n")
    assert engine.asked == [("remove", "a", ("force", False), ("volumes", False))]
    assert served(capsys, "rm", "")[2] == "Container name cannot be empty\n"
    assert served(capsys, "rm", "/a")[0] == 1


@pytest.mark.timing("four removals of 0.4 s must overlap")
def test_several_are_removed_at_the_same_time(engine, capsys, monkeypatch):
    monkeypatch.setattr(remove, "remove", lambda container, **_: time.sleep(0.4))
    before = time.monotonic()
    assert served(capsys, "rm", "a", "b", "a", "b") == (0, "a\nb\na\nb\n", "")
    assert time.monotonic() - before < 1.5


def test_kill_words_its_failures(engine, capsys):
    engine.answers["kill"] = EngineError("Container 6161 is not running", exit_code=1)
    refused = "Error response from daemon: Cannot kill container: "
    assert served(capsys, "kill", "a")[2] == f"{refused}a: Container 6161 is not running\n"
    engine.answers["kill"] = BadParameter("Invalid signal: BOGUS")
    assert served(capsys, "kill", "-s", "BOGUS", "a") == (1, "", "Error response from daemon: Invalid signal: BOGUS\n")
    assert served(capsys, "kill", "x")[2] == f"{refused}x: No such container: x\n"


def test_start_attached(engine, capsys):
    engine.answers["start"] = 3
    assert served(capsys, "start", "-ai", "a") == (3, "", "")
    ((name, container, attachment),) = engine.asked
    assert (name, container) == ("start", "a")
    assert (attachment.stdin, attachment.stdout, attachment.detach_keys) == (True, True, b"")
    assert served(capsys, "start", "-a", "a", "b")[2] == "you cannot start and attach multiple containers at once\n"
    assert served(capsys, "start", "-a", "x") == (1, "", "Error: No such container: x\n")


# ---- run and create: the client's half ----


def options(*words):
    return read(commands.load("run"), [*words, "alpine"])


def test_files_come_before_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", "h")
    (tmp_path / "env").write_text('# no\n\nA=1\nB="q q"\nC= x \nHERE\n')
    (tmp_path / "labels").write_text("k=file\nl=file\n")
    requested = options(
        "--env-file", str(tmp_path / "env"), "-e", "A=2", "--label-file", str(tmp_path / "labels"), "-l", "k=line"
    )
    wanted = run.create_options(requested)
    assert wanted.env == ["A=1", 'B="q q"', "C= x ", "HERE=h", "A=2"]
    assert wanted.label == ["k=line", "l=file"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--env-file", "/nope"], "open /nope: no such file or directory"),
        (["--network", ""], "no name set for network"),
        (
            ["--network", "foo", "--network", "bridge"],
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ),
        (["--network", "foo", "--net", "foo"], 'network "foo" is specified multiple times'),
        (
            ["--network", "name=foo,alias=a", "--network-alias", "b"],
            "conflicting options: cannot specify both --network-alias and per-network alias",
        ),
        (
            ["--network", "bridge", "--network-alias", "q"],
            "network-scoped aliases are only supported for user-defined networks",
        ),
        (["--network", "none", "--link", "c"], "links are only supported for user-defined networks"),
        (["--mac-address", "bad"], "bad is not a valid mac address"),
        (["--security-opt", "bogus"], 'Invalid --security-opt: "bogus"'),
        (["--pull", "bogus"], 'invalid pull option: \'bogus\': must be one of "always", "missing" or "never"'),
        (
            ["--cidfile", "/etc/passwd"],
            "container ID file found, make sure the other container isn't running or delete /etc/passwd",
        ),
    ],
)
def test_what_the_client_refuses(words, text):
    with pytest.raises(ClientError) as caught:
        run.create_options(options(*words))
    assert str(caught.value) == text


@pytest.mark.parametrize("mac", ["02:11:22:33:44:55", "02-11-22-33-44-Ff", "0211.2233.4455"])
def test_mac_addresses(mac):
    run.create_options(options("--mac-address", mac))


def test_other_spellings():
    requested = run.create_options(options("--net", "none", "--dns-opt", "ndots:2"))
    assert (requested.network, requested.dns_option) == ("none", ["ndots:2"])


def test_what_is_asked_of_a_network():
    def asked(*words):
        requested = run.create_options(options(*words))
        return requested.network, requested.endpoint

    assert asked("--ip", "192.0.2.1", "--network-alias", "a") == ("default", None)  # without --network not looked at
    assert asked("--network", "bridge") == ("bridge", None)
    assert asked(
        "--network", "foo", "--network-alias", "a", "--net-alias", "b", "--ip6", "2001:db8::1", "--link", "c:d"
    ) == (
        "foo",
        {"Aliases": ["a", "b"], "IPAMConfig": {"IPv6Address": "2001:db8::1"}, "Links": ["c:d"], "DriverOpts": None},
    )
    assert asked("--network", "name=Foo,alias=A,driver-opt=x=y") == (
        "foo",
        {"Aliases": ["a"], "IPAMConfig": None, "Links": None, "DriverOpts": {"x": "y"}},
    )


def test_several_networks_are_refused_by_the_daemon():
    with pytest.raises(BadParameter, match="^Container cannot be connected to network endpoints: foo, aa$"):
        run.create_options(options("--network", "foo", "--net", "aa"))


def test_conflicts_end_with_one(capsys, monkeypatch):
    monkeypatch.setattr(run.os, "isatty", lambda fd: False)
    assert served(capsys, "run", "-d", "-a", "stdout", "alpine") == (1, "", "Conflicting options: -a and -d\n")
    assert served(capsys, "run", "-it", "alpine") == (1, "", "the input device is not a TTY\n")


def test_an_image_that_is_not_here(capsys, monkeypatch):
    def none(*_):
        raise NoSuchImage("x:latest")

    asked: list[tuple] = []
    monkeypatch.setattr(start, "run", none)
    monkeypatch.setattr(pull_push, "pull_missing", lambda _daemon, *what: asked.append(what))
    code, out, err = served(capsys, "run", "x")
    assert (code, out) == (125, "")
    text = "minirun: Error response from daemon: No such image: x:latest.\nSee 'minirun run --help'.\n"
    assert err == f"Unable to find image 'x:latest' locally\n{text}"
    assert asked == [("x", "", None)]
    assert served(capsys, "run", "--pull", "never", "x")[2] == text


# ---- logs, version, info ----


def test_logs_go_where_they_came_from(made, capfd, monkeypatch):
    made.append(Made("a", State("exited")))
    asked = {}

    def records(container, config, *, follow):
        asked.update(config, follow=follow, name=container.name)
        return iter([("stdout", b"out1\n"), ("stdout", b"out2\n"), ("stderr", b"err1\n"), ("stdout", b"out3")])

    monkeypatch.setattr(engine_logs, "read", records)
    monkeypatch.setattr(engine_logs, "ReadConfig", dict)
    assert main.serve(["logs", "-f", "-n", "5", "-t", "--since", "10m", "a"]) == 0
    assert capfd.readouterr() == ("out1\nout2\nout3", "err1\n")
    assert asked == {
        "follow": True,
        "tail": "5",
        "since": "10m",
        "until": "",
        "timestamps": True,
        "details": False,
        "name": "a",
    }
    assert main.serve(["logs", "a"]) == 0
    assert capfd.readouterr() == ("out1\nout2\nout3", "err1\n")


def test_version_through_a_template(capsys):
    assert served(capsys, "version", "-f", "{{.Client.APIVersion}} {{.Server.Os}}") == (0, "1.41 linux\n", "")
    assert served(capsys, "version", "-f", "{{") == (
        64,
        "",
        "template parsing error: template: version:1: unclosed action\n",
    )
    code, out, err = served(capsys, "version", "-f", "{{.Nope}}")
    assert (code, out) == (1, "\n")
    assert err == (
        'template: version:1:2: executing "version" at <.Nope>: can\'t evaluate field Nope in type system.versionInfo\n'
    )


def test_info_is_laid_out_as_dockers():
    facts = {
        "Containers": 3,
        "ContainersRunning": 1,
        "ContainersPaused": 0,
        "ContainersStopped": 2,
        "Images": 1,
        "ServerVersion": "1",
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"]],
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "Plugins": {"Volume": [], "Network": ["bridge", "host"]},
        "Runtimes": {"minirun": {}},
        "DefaultRuntime": "minirun",
        "SecurityOptions": ["name=seccomp,profile=default"],
        "KernelVersion": "6.1",
        "OperatingSystem": "Debian",
        "OSType": "linux",
        "Architecture": "x86_64",
        "NCPU": 2,
        "MemTotal": 4 << 30,
        "Name": "vm",
        "ID": "A:B",
        "DockerRootDir": "/d",
        "Debug": False,
        "LiveRestoreEnabled": True,
    }
    lines = system.info_lines(facts)
    assert lines[4:9] == ["Server:", " Containers: 3", "  Running: 1", "  Paused: 0", "  Stopped: 2"]
    assert lines[lines.index(" Security Options:") :][:3] == [" Security Options:", "  seccomp", "   Profile: default"]
    assert "  Network: bridge host" in lines
    assert " Total Memory: 4GiB" in lines


class Report:
    def __init__(self, *problems, good=False):
        self.features = [("overlay", True, "/proc/filesystems"), ("namespace net", good, "no such file")]
        self.problems, self.good = problems, good


class Problem:
    def __init__(self, what, cleared=False, why=""):
        self.what, self.cleared, self.why = what, cleared, why


def test_system_check(capsys, monkeypatch):
    report, asked = Report(Problem("a cgroup", why="busy"), Problem("a name", cleared=True)), []
    check = SimpleNamespace(run=lambda _daemon, repair: asked.append(repair) or report)
    monkeypatch.setattr(minirun.engine.check, "check", check, raising=False)
    features = "ok       overlay        /proc/filesystems\nMISSING  namespace net  no such file\n"
    assert served(capsys, "system", "check", "--repair") == (
        1,
        features + "\nLeft over:\n  a cgroup: busy\n  a name (cleared)\n",
        "",
    )
    assert served(capsys, "system", "check")[1].endswith("`minirun system check --repair` clears this away.\n")
    assert asked == [True, False]
    report = Report(good=True)
    code, out, _ = served(capsys, "system", "check")
    assert (code, out.splitlines()[-1]) == (0, "Nothing is left over.")


def test_a_failed_helper_is_not_taken_for_success(engine, capsys, monkeypatch):
    monkeypatch.setattr(remove, "remove", lambda container, **_: 1 // 0)
    code, out, err = served(capsys, "rm", "a", "b")
    assert (code, out) == (1, "")
    assert err.count("minirun: ZeroDivisionError") == 2
