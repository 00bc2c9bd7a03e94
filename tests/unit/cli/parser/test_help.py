"""Help pages and Docker's way of breaking lines."""

import os
import subprocess

import pytest

from minirun.cli import commands, main
from minirun.cli.parser import click_adapter, complete, help
from minirun.cli.parser.grammar import Option, Verb
from minirun.cli.parser.types import BOOL, INT, STRING

LOGS = """
Usage:  minirun logs [OPTIONS] CONTAINER

Fetch the logs of a container

Options:
      --details        Show extra details provided to logs
  -f, --follow         Follow log output
      --since string   Show logs since timestamp (e.g.
                       2013-01-02T13:23:37Z) or relative (e.g. 42m for 42
                       minutes)
  -n, --tail string    Number of lines to show from the end of the logs
                       (default "all")
  -t, --timestamps     Show timestamps
      --until string   Show logs before a timestamp (e.g.
                       2013-01-02T13:23:37Z) or relative (e.g. 42m for 42
                       minutes)
"""


def test_a_page_is_laid_out_as_dockers():
    assert help.verb_page(commands.load("logs"), 80) == LOGS


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            60,
            "      --since string   Show logs since timestamp\n                       (e.g. 2013-01-02T13:23:37Z) or\n"
            "                       relative (e.g. 42m for 42 minutes)\n",
        ),
        (
            120,
            "      --since string   Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 "
            "minutes)\n",
        ),
    ],
)
def test_lines_fit_the_terminal(width, line):
    assert line in help.verb_page(commands.load("logs"), width)


def test_a_narrow_terminal_gets_a_block_below_the_flag():
    verb = Verb(
        "x",
        "S",
        "[OPTIONS]",
        lambda _daemon, _options: 0,
        options=(
            Option("a-rather-long-flag", STRING, "One sentence about it that is long enough to be broken", short="a"),
        ),
    )
    assert help.verb_page(verb, 48).endswith(
        "  -a, --a-rather-long-flag string   \n                One sentence about it\n"
        "                that is long enough to be\n                broken\n"
    )


def test_flags_are_sorted_and_hidden_ones_are_not_shown():
    verb = Verb(
        "x",
        "S",
        "[OPTIONS]",
        lambda _daemon, _options: 0,
        options=(
            Option("zeta", BOOL, "Z"),
            Option("alpha", INT, "A", short="a", shown="10"),
            Option("secret", BOOL, hidden=True),
        ),
    )
    assert help.verb_page(verb, 80) == (
        "\nUsage:  minirun x [OPTIONS]\n\nS\n\nOptions:\n  -a, --alpha int   A (default 10)\n      --zeta        Z\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        *"start stop restart kill wait ps logs inspect images info tag history load save".split(),
        "image prune",
        "image inspect",
        *(f"network {word}" for word in "create ls inspect rm prune disconnect".split()),
    ],
)
def test_our_options_read_like_those_of_docker_itself(name):
    docker = "/usr/bin/docker"
    if not os.path.exists(docker) or "version 20." not in output(docker, "--version"):
        pytest.skip("no Docker 20.10 client to compare with")
    theirs = output(docker, *name.split(), "--help").replace("docker", "minirun")
    ours = help.verb_page(commands.load(name), 80)
    assert ours.rstrip().partition("\n\nDocker's flags that")[0] == theirs.rstrip()


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout


def test_what_only_docker_has_is_named():
    page = help.verb_page(commands.load("run"), 80)
    missing = page.partition("Docker's flags that minirun does not have yet:\n")[2]
    assert "--gpus" in missing
    assert "--memory " not in missing
    assert max(map(len, page.splitlines())) <= 80


def text_of(capsys, words):
    code = main.serve(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_first_page_has_every_verb(capsys):
    code, out, err = text_of(capsys, ["--help"])
    assert (code, err) == (0, "")
    for name in (*commands.VERBS, *commands.GROUPS):
        assert f"\n  {name:<11} " in out
    assert text_of(capsys, [])[2] == out
    assert text_of(capsys, ["help"])[1] == out


def test_aliases_of_a_management_command(capsys):
    code, out, _ = text_of(capsys, ["container", "list", "--help"])
    assert code == 0
    assert out.startswith("\nUsage:  minirun container ls [OPTIONS]\n\nList containers\n\nAliases:\n  ls, list, ps\n")
    assert "\n  ls          List containers\n" in text_of(capsys, ["container", "--help"])[1]


def test_h_is_an_old_way_to_ask_for_help(capsys):
    code, out, _ = text_of(capsys, ["ps", "-h"])
    assert code == 0
    assert out.startswith("Flag shorthand -h has been deprecated, please use --help\n\nUsage:  minirun ps [OPTIONS]\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["run", "--nosuchflag"], 125, "unknown flag: --nosuchflag\nSee 'minirun run --help'.\n"),
        (
            ["container", "run", "--nosuchflag"],
            125,
            "unknown flag: --nosuchflag\nSee 'minirun container run --help'.\n",
        ),
        (["ps", "--nosuchflag"], 125, "unknown flag: --nosuchflag\nSee 'minirun ps --help'.\n"),
        (
            ["run", "-m", "10x", "alpine"],
            125,
            "invalid argument \"10x\" for \"-m, --memory\" flag: invalid size: '10x'\nSee 'minirun run --help'.\n",
        ),
        (["run", "--gpus", "all", "alpine"], 125, "minirun does not have --gpus yet\nSee 'minirun run --help'.\n"),
        (
            ["rm"],
            1,
            "\"minirun rm\" requires at least 1 argument.\nSee 'minirun rm --help'.\n\n"
            "Usage:  minirun rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRemove one or more containers\n",
        ),
        (["nosuchcmd"], 1, "minirun: 'nosuchcmd' is not a minirun command.\nSee 'minirun --help'\n"),
        (["build", "."], 1, "minirun does not have 'build' yet\n"),
        (["image", "build"], 1, "minirun does not have 'image build' yet\n"),
        (["help", "nosuch"], 1, "unknown help topic: nosuch\n"),
        (["--nosuchflag", "ps"], 125, "unknown flag: --nosuchflag\nSee 'minirun --help'.\n"),
    ],
)
def test_mistakes_are_answered_as_docker_answers_them(capsys, words, code, text):
    assert text_of(capsys, words) == (code, "", text)


def test_an_unknown_word_of_a_group_gets_its_page(capsys):
    code, out, err = text_of(capsys, ["container", "nosuch"])
    assert (code, out) == (1, "")
    assert "Usage:  minirun container COMMAND" in err


# ---- completion ----


def completed(monkeypatch, capsys, line):
    monkeypatch.setenv("_MINIRUN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    main.serve([])
    return capsys.readouterr().out.split()


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setattr(complete, "_containers", lambda _daemon, states: [(state, "") for state in states or ("all",)])
    monkeypatch.setattr(complete, "_compared", lambda _daemon: [("minirun:web", "alpine"), ("docker:web", "alpine")])
    monkeypatch.setattr(complete, "_networks", lambda _daemon: [(name, "") for name in ("bridge", "foo", "host")])
    monkeypatch.setattr(complete, "_images", lambda _daemon: [("alpine", ""), ("busybox:1", "")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("minirun im", {"plain,image", "plain,images", "plain,import"}),
        ("minirun ps --no", {"plain,--no-trunc"}),
        ("minirun run --rea", {"plain,--read-only"}),
        ("minirun run al", {"plain,alpine"}),
        ("minirun run -it ", {"plain,alpine", "plain,busybox:1"}),
        ("minirun run alpine ", set()),
        ("minirun run --network f", {"plain,foo"}),
        ("minirun network in", {"plain,inspect"}),
        ("minirun network rm ", {"plain,foo"}),
        ("minirun network connect b", {"plain,bridge"}),
        ("minirun network connect foo a", {"plain,all"}),
        ("minirun network create ", set()),
        ("minirun run --env-file x", {"file,x"}),
        ("minirun run --rm al", {"plain,alpine"}),
        ("minirun stop ", {"plain,running", "plain,paused", "plain,restarting"}),
        ("minirun start ", {"plain,created", "plain,exited"}),
        ("minirun start created ", {"plain,exited"}),
        ("minirun container rm ", {"plain,all"}),
        ("minirun rmi b", {"plain,busybox:1"}),
        ("minirun inspect al", {"plain,all", "plain,alpine"}),
        ("minirun completion z", {"plain,zsh"}),
        ("minirun --root /x stop r", {"plain,running", "plain,restarting"}),
        ("minirun container l", {"plain,logs", "plain,ls"}),
        ("minirun compare host ", {"plain,pid:", "plain,minirun:web", "plain,docker:web"}),
        ("minirun compare minirun:w", {"plain,minirun:web"}),
        ("minirun compare minirun : w", {"plain,web"}),
        ("minirun compare minirun :", {"plain,web"}),  # as bash has it
        ("minirun compare --only links,ru", {"plain,links,rules"}),
    ],
)
def test_words_that_a_shell_offers(monkeypatch, capsys, names, line, words):
    assert set(completed(monkeypatch, capsys, line)) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_asks_minirun(capsys, shell):
    assert "_MINIRUN_COMPLETE" in click_adapter.completion_script(shell)
