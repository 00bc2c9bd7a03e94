"""The two readers of command lines: each in itself, and that they agree."""

import os
import subprocess
from shutil import which
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.cli import commands
from minirun.cli.parser import click_adapter, unsupported
from minirun.cli.parser.grammar import Option, ValueType, Verb, read
from minirun.cli.parser.types import BOOL
from minirun.errors import MinirunError, UsageError

VERBS = [commands.load(name) for name in (*commands.VERBS, *commands.GROUP_VERBS)] + [commands.ROOT]
RUN = commands.load("run")
PS = commands.load("ps")


def fast(words, verb=RUN):
    """The values that the fast reader finds, as attributes."""
    options = read(verb, words)
    return options and SimpleNamespace(**options.values)


# ---- pflag's grammar ----


@pytest.mark.parametrize(
    "words",
    [
        ["-it", "-m64m", "-e", "A=1", "alpine"],
        ["-ti", "-m", "64m", "-eA=1", "alpine"],
        ["-i=true", "-t", "-m=64m", "--env=A=1", "alpine"],
        ["--interactive", "--tty", "--memory=64m", "--env", "A=1", "alpine"],
        ["-itm64m", "-e=A=1", "--", "alpine"],
    ],
)
def test_one_meaning_many_spellings(words):
    options = fast(words)
    assert (options.interactive, options.tty, options.memory, options.env, options.image, options.command) == (
        True,
        True,
        64 << 20,
        ["A=1"],
        "alpine",
        [],
    )


def test_run_stops_at_the_image_and_ps_goes_on():
    assert fast(["alpine", "ls", "-l", "--rm"]).command == ["ls", "-l", "--rm"]
    assert fast(["alpine", "ls", "-l", "--rm"]).rm is False
    options = fast(["a", "-f", "b"], commands.load("rm"))
    assert options.containers == ["a", "b"]
    assert options.force is True


def test_two_dashes_end_the_options():
    assert fast(["--", "-f"], commands.load("rm")).containers == ["-f"]
    assert fast(["alpine", "--", "-f"]).command == ["--", "-f"]


def test_switches_take_a_truth_only_behind_an_equals_sign():
    assert fast(["--rm=false", "alpine"]).rm is False
    assert fast(["--sig-proxy=0", "alpine"]).sig_proxy is False
    assert fast(["--rm", "false"]).image == "false"


def test_a_value_may_look_like_a_flag():
    assert fast(["--memory-swap", "-1", "alpine"]).memory_swap == -1
    assert fast(["--name", "--rm", "alpine"]).name == "--rm"


def test_empty_words():
    assert fast(["--entrypoint", "", "alpine"]).entrypoint == ""
    assert fast(["alpine"]).entrypoint is None
    assert fast(["", "x"]).image == ""
    assert fast(["-"]).image == "-"


def test_each_reading_starts_from_new_lists():
    fast(["-e", "A=1", "alpine"])
    assert fast(["alpine"]).env == []


def test_the_last_word_wins_and_lists_grow():
    options = fast(["--name", "a", "--name", "b", "-l", "x", "-l", "y=1", "alpine"])
    assert (options.name, options.label) == ("b", ["x", "y=1"])
    assert fast(["--ulimit", "core=1", "--ulimit", "nofile=5:6", "--ulimit", "core=2", "a"]).ulimit == [
        {"Name": "nofile", "Soft": 5, "Hard": 6},
        {"Name": "core", "Soft": 2, "Hard": 2},
    ]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["--rm"],
        ["-Q", "a"],
        ["--nosuch", "a"],
        ["-m"],
        ["--memory"],
        ["-m", "10x", "a"],
        ["--rm=maybe", "a"],
        ["--=x", "a"],
        ["---", "a"],
        ["-itx", "a"],
        ["--gpus", "all", "a"],
        ["-i=", "a"],
    ],
)
def test_the_fast_reader_leaves_what_is_not_in_order_to_click(words):
    assert fast(words) is None


def test_a_variable_without_a_value_takes_ours(monkeypatch):
    monkeypatch.setenv("MINIRUN_TEST_HERE", "x y")
    monkeypatch.delenv("MINIRUN_TEST_GONE", raising=False)
    options = fast(["-e", "MINIRUN_TEST_HERE", "-e", "MINIRUN_TEST_GONE", "-e", "EMPTY=", "a"])
    assert options.env == ["MINIRUN_TEST_HERE=x y", "MINIRUN_TEST_GONE", "EMPTY="]


# ---- values, and the words of Docker's client for bad ones ----

GOOD = [
    ("--memory", "1.5 GiB", 3 << 29),
    ("--memory", "5 ", 5),
    ("--memory", "5mib", 5 << 20),
    ("--memory", "512", 512),
    ("--shm-size", "1k", 1024),
    ("--memory-swap", "-1", -1),
    ("--cpus", "0.5", 5 * 10**8),
    ("--cpus", "1/2", 5 * 10**8),
    ("--cpus", "1e-1", 10**8),
    ("--cpus", ".5", 5 * 10**8),
    ("--cpus", "-1", -(10**9)),
    ("--cpus", "0x1", 10**9),
    ("--cpu-shares", "017", 15),
    ("--cpu-shares", "0x_1f", 31),
    ("--cpu-shares", "+5", 5),
    ("--cpu-shares", "1_000", 1000),
    ("--pids-limit", "-1", -1),
    ("--stop-timeout", "0", 0),
    ("--add-host", "h:host-gateway", ["h:host-gateway"]),
    ("--add-host", "h:::1", ["h:::1"]),
    ("--dns-search", "exa-mple.org.", ["exa-mple.org."]),
    ("--attach", "STDOUT", ["stdout"]),
    ("--network", "name=none,alias=a", [{"Target": "none", "Aliases": ["a"], "DriverOpts": {}}]),
    ("--sysctl", "net.ipv4.ip_forward=1", {"net.ipv4.ip_forward": "1"}),
    (
        "--mount",
        'type=bind,"src=/a,b",dst=/c,ro,bind-propagation=rslave',
        [
            {
                "Type": "bind",
                "Source": "/a,b",
                "Target": "/c",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rslave"},
            }
        ],
    ),
    (
        "--mount",
        "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770",
        [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}}],
    ),
]


@pytest.mark.parametrize(("flag", "word", "value"), GOOD)
def test_good_values(flag, word, value):
    assert getattr(fast([flag, word, "alpine"]), flag[2:].replace("-", "_")) == value


BAD = [  # as Docker 20.10.24 printed them
    (["-m", "10x"], '"10x" for "-m, --memory" flag: invalid size: \'10x\''),
    (["-m", ""], '"" for "-m, --memory" flag: invalid size: \'\''),
    (["-m", "1.2.3m"], '"1.2.3m" for "-m, --memory" flag: strconv.ParseFloat: parsing "1.2.3": invalid syntax'),
    (["-m", "5  m"], '"5  m" for "-m, --memory" flag: invalid size: \'5  m\''),
    (["--memory-swap", "-2"], '"-2" for "--memory-swap" flag: invalid size: \'-2\''),
    (["--cpus", "x"], '"x" for "--cpus" flag: failed to parse x as a rational number'),
    (["--cpus", "1.5/2"], '"1.5/2" for "--cpus" flag: failed to parse 1.5/2 as a rational number'),
    (["--cpus", "0.0000000001"], '"0.0000000001" for "--cpus" flag: value is too precise'),
    (["-c", "08"], '"08" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "08": invalid syntax'),
    (["-c", "1__0"], '"1__0" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "1__0": invalid syntax'),
    (["-c", "a\tb"], '"a\\tb" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "a\\tb": invalid syntax'),
    (
        ["--pids-limit", "99999999999999999999"],
        '"99999999999999999999" for "--pids-limit" flag: strconv.ParseInt: '
        'parsing "99999999999999999999": value out of range',
    ),
    (["--rm=maybe"], '"maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
    (["-i=x"], '"x" for "-i, --interactive" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    (["-e", ""], '"" for "-e, --env" flag: invalid environment variable: '),
    (["-e", "=x"], '"=x" for "-e, --env" flag: invalid environment variable: =x'),
    (["-l", "=x"], '"=x" for "-l, --label" flag: invalid label \'=x\': empty name'),
    (["-l", "a b=c"], '"a b=c" for "-l, --label" flag: label \'a b\' contains whitespaces'),
    (["--ulimit", "bad=1"], '"bad=1" for "--ulimit" flag: invalid ulimit type: bad'),
    (["--ulimit", "nofile"], '"nofile" for "--ulimit" flag: invalid ulimit argument: nofile'),
    (
        ["--ulimit", "nofile=200:100"],
        '"nofile=200:100" for "--ulimit" flag: ulimit soft limit must be less than or equal to hard limit: 200 > 100',
    ),
    (
        ["--ulimit", "nofile=-1:3"],
        '"nofile=-1:3" for "--ulimit" flag: ulimit soft limit must be less than or equal to '
        "hard limit: soft: -1 (unlimited), hard: 3",
    ),
    (
        ["--sysctl", "kernel.panic=1"],
        '"kernel.panic=1" for "--sysctl" flag: sysctl \'kernel.panic=1\' is not whitelisted',
    ),
    (["--add-host", "bad"], '"bad" for "--add-host" flag: bad format for add-host: "bad"'),
    (["--add-host", "x:notip"], '"x:notip" for "--add-host" flag: invalid IP address in add-host: "notip"'),
    (["--dns", "bad"], '"bad" for "--dns" flag: bad is not an ip address'),
    (["--dns-search", "a_b"], '"a_b" for "--dns-search" flag: a_b is not a valid domain'),
    (["-a", "bogus"], '"bogus" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'),
    (["--network", "a=b"], '"a=b" for "--network" flag: invalid field key a'),
    (["--mount", "x"], '"x" for "--mount" flag: invalid field \'x\' must be a key=value pair'),
    (["--mount", "type=bind"], '"type=bind" for "--mount" flag: target is required'),
    (["--mount", "foo=bar"], "\"foo=bar\" for \"--mount\" flag: unexpected key 'foo' in 'foo=bar'"),
    (
        ["--mount", "type=tmpfs,dst=/t,bind-propagation=x"],
        '"type=tmpfs,dst=/t,bind-propagation=x" for "--mount" flag: '
        "cannot mix 'bind-*' options with mount type 'tmpfs'",
    ),
    (
        ["--mount", '"a,b'],
        '"\\"a,b" for "--mount" flag: parse error on line 1, column 5: extraneous or missing " in quoted-field',
    ),
]


@pytest.mark.parametrize(("words", "text"), BAD)
def test_bad_values_in_the_words_of_dockers_client(words, text):
    with pytest.raises(UsageError) as caught:
        click_adapter.read_verb(RUN, [*words, "alpine"])
    assert str(caught.value) == f"invalid argument {text}"
    assert fast([*words, "alpine"]) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nosuchflag"], "unknown flag: --nosuchflag"),
        (["--no"], "unknown flag: --no"),
        (["-Q"], "unknown shorthand flag: 'Q' in -Q"),
        (["-itx"], "unknown shorthand flag: 'x' in -x"),
        (["-itxy"], "unknown shorthand flag: 'x' in -xy"),
        (["-i="], "unknown shorthand flag: '=' in -="),
        (["-m"], "flag needs an argument: 'm' in -m"),
        (["-itm"], "flag needs an argument: 'm' in -m"),
        (["--memory"], "flag needs an argument: --memory"),
        (["---"], "bad flag syntax: ---"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--gpus", "all"], "minirun does not have --gpus yet"),
        (["--privileged"], "minirun does not have --privileged yet"),
        (
            ["-P=maybe"],
            'invalid argument "maybe" for "-P, --publish-all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
def test_wrong_flags_in_the_words_of_dockers_client(words, text):
    with pytest.raises(UsageError) as caught:
        click_adapter.read_verb(RUN, words)
    assert str(caught.value) == text


def test_a_flag_we_do_not_have_may_be_switched_off():
    assert click_adapter.read_verb(RUN, ["--privileged=false", "alpine"]).values["image"] == "alpine"


@pytest.mark.parametrize(
    ("verb", "words", "text"),
    [
        ("run", [], "requires at least 1 argument"),
        ("exec", ["a"], "requires at least 2 arguments"),
        ("logs", [], "requires exactly 1 argument"),
        ("logs", ["a", "b"], "requires exactly 1 argument"),
        ("ps", ["x"], "accepts no arguments"),
        ("images", ["a", "b"], "requires at most 1 argument"),
    ],
)
def test_wrong_numbers_of_arguments(verb, words, text):
    verb = commands.load(verb)
    with pytest.raises(UsageError) as caught:
        click_adapter.read_verb(verb, words)
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"\"minirun {verb.name}\" {text}.\nSee 'minirun {verb.name} --help'.\n\n"
        f"Usage:  minirun {verb.name} {verb.usage}\n\n{verb.summary}"
    )


# ---- the tables themselves ----


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name or "minirun")
def test_the_table_is_sound(verb):
    longs = [option.long for option in verb.options]
    shorts = [option.short for option in verb.options if option.short]
    assert len(set(longs)) == len(longs)
    assert len(set(shorts)) == len(shorts)
    for option in verb.options:
        assert option.hidden or option.help, option.long
        assert option.kind.gather is None or option.default is ..., "a shared list would remember earlier command lines"
        assert not (set(longs) & {"no-" + option.long}), "click's name for switching it off is taken"
        assert option.name not in {name.rstrip("?*+") for name in verb.takes}


def answer(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout


@pytest.mark.parametrize("name", [name for name in commands.VERBS if name not in ("compare", "completion")])
def test_nothing_that_docker_has_is_unknown(name):
    """Every flag of Docker 20.10's own help is either in our table or among those we know to lack."""
    docker = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else which("docker")
    if not docker or "version 20." not in answer(docker, "--version"):
        pytest.skip("no Docker 20.10 client to ask")
    page = answer(docker, name, "--help")
    theirs = {
        line[6:].split()[0].removeprefix("--"): line[2:4].strip("- ,")
        for line in page.splitlines()
        if line[6:8] == "--" and line[2:6].strip() in ("", line[2:4] + ",")
    }
    theirs.pop("help", None)
    ours = {option.long: option.short for option in commands.load(name).options}
    ours |= {flag.long: flag.short for flag in unsupported.flags(name)}
    assert theirs.items() <= ours.items()


# ---- the two readers agree ----

TEXTS = st.sampled_from(
    [
        "",
        "a",
        "alpine",
        "x=y",
        "A=1",
        "=",
        "64m",
        "10x",
        "-1",
        "0.5",
        "1/3",
        "true",
        "false",
        "0",
        "-",
        "--",
        "--rm",
        "-it",
        "-f",
        "--help",
        "none",
        "host",
        "net.ipv4.ip_forward=1",
        "nofile=1:2",
        "h:1.2.3.4",
        "127.0.0.1",
        "status=running",
        "type=bind,src=/a,dst=/b",
        "stdin",
        "a b",
        "é",
        "\udcff",
        "007",
        "5 m",
    ]
)


def words_of(verb: Verb):
    """Command lines that are full of this verb's flags, some of them right."""
    longs = [option.long for option in verb.options] + ["help", "nosuch", "gpus"]
    shorts = [option.short for option in verb.options if option.short] + ["h", "Q"]
    long = st.builds("--{}".format, st.sampled_from(longs))
    equals = st.builds("--{}={}".format, st.sampled_from(longs), TEXTS)
    cluster = st.builds("-{}{}".format, st.lists(st.sampled_from(shorts), min_size=1, max_size=4).map("".join), TEXTS)
    assigned = st.builds("-{}={}".format, st.sampled_from(shorts), TEXTS)
    pair = st.builds(lambda flag, value: [flag, value], long, TEXTS)
    one = st.one_of(long, equals, cluster, assigned, TEXTS).map(lambda word: [word])
    return st.lists(st.one_of(one, pair), max_size=6).map(lambda parts: [word for part in parts for word in part])


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name or "minirun")
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_fast_reader_understands_click_understands_alike(verb, data):
    words = data.draw(words_of(verb))
    quick = read(verb, list(words))
    try:
        slow = click_adapter.read_verb(verb, words)
    except (MinirunError, SystemExit, click_adapter.click.exceptions.Exit):
        slow = None  # a mistake, or help
    if quick is not None:
        assert slow is not None, f"click refuses {words}"
        assert slow.values == quick.values


@settings(max_examples=100, deadline=None, database=None)
@given(
    given_words=st.lists(
        st.sampled_from(
            [
                ("-i",),
                ("-t",),
                ("--rm",),
                ("-m", "64m"),
                ("--cpus=0.5",),
                ("-eA=b",),
                ("--name", "x"),
                ("-w", "/tmp"),
                ("-v/a:/b",),
                ("--read-only=false",),
            ]
        ),
        max_size=8,
    ),
    command=st.lists(TEXTS, max_size=4),
)
def test_the_fast_reader_understands_everyday_command_lines(given_words, command):
    words = [word for part in given_words for word in part]
    options = read(RUN, [*words, "alpine", *command])
    assert options is not None
    assert options.words("command") == command


def test_a_reader_that_forgot_a_flag_would_be_noticed():
    """The property above can fail: two tables that differ do not agree."""
    switch = ValueType("", BOOL.read, empty=bool)
    ours = Verb("x", "s", "", lambda _daemon, _options: 0, options=(Option("a", switch, "h"),))
    theirs = Verb("x", "s", "", lambda _daemon, _options: 0, options=(Option("a", switch, "h", default=True),))
    assert read(ours, []).values != click_adapter.read_verb(theirs, []).values
