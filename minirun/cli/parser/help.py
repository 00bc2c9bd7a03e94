"""Help as Docker's client prints it (cobra and pflag), made from the tables of verbs.

Usage:  minirun logs [OPTIONS] CONTAINER

Fetch the logs of a container

Options:
      --details        Show extra details provided to logs
  -n, --tail string    Number of lines to show from the end of the logs
                       (default "all")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Option, Verb
from minirun.cli.parser.unsupported import flags

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A last line may be longer than the others by this much rather than leave a word alone.
SLOP = 5


def columns() -> int:
    """How wide the terminal on standard input is (that is the one Docker asks), or 80."""
    try:
        return os.get_terminal_size(0).columns
    except OSError:
        return 80


def verb_page(verb: Verb, width: int) -> str:
    """The help of one verb. Arguments: width (int), columns of the terminal."""
    parts = [f"Usage:  minirun {verb.name} {verb.usage}".rstrip(), verb.help]
    if len(verb.aliases) > 1:
        parts.append("Aliases:\n  " + ", ".join(verb.aliases))
    shown = [option for option in verb.options if not option.hidden]
    if shown:
        parts.append("Options:\n" + option_lines(shown, width))
    missing = " ".join(f"--{flag.long}" for flag in sorted(flags(verb.name), key=lambda flag: flag.long))
    if missing:
        parts.append("Docker's flags that minirun does not have yet:\n  " + wrap(missing, 2, width))
    return "\n" + "\n\n".join(parts) + "\n"


def group_page(name: str, summary: str, verbs: Iterable[tuple[str, str]]) -> str:
    """The help of a management command, "container". Arguments: verbs, pairs of name and summary."""
    return (
        f"\nUsage:  minirun {name} COMMAND\n\n{summary}\n\nCommands:\n{command_lines(verbs)}\n\n"
        f"Run 'minirun {name} COMMAND --help' for more information on a command.\n"
    )


def root_page(root: Verb, groups: Iterable[tuple[str, str]], verbs: Iterable[tuple[str, str]], width: int) -> str:
    """`minirun --help`."""
    return (
        f"\nUsage:  minirun {root.usage}\n\n{root.help}\n\nOptions:\n{option_lines(root.options, width)}\n\n"
        f"Management Commands:\n{command_lines(groups)}\n\nCommands:\n{command_lines(verbs)}\n\n"
        "Run 'minirun COMMAND --help' for more information on a command.\n"
    )


def command_lines(verbs: Iterable[tuple[str, str]]) -> str:
    """Names and summaries in two columns, sorted."""
    return "\n".join(f"  {name:<11} {summary}" for name, summary in sorted(verbs))


def option_lines(options: Iterable[Option], width: int) -> str:
    """Flags with their types, sentences and defaults, sorted by name (pflag's FlagUsagesWrapped)."""
    ordered = sorted(options, key=lambda option: option.long)
    heads = [
        (f"  -{option.short}, " if option.short else "      ") + f"--{option.long} {option.kind.metavar}".rstrip()
        for option in ordered
    ]
    left = max(map(len, heads)) + 3
    lines = (head.ljust(left) + wrap(_sentence(option), left, width - 1) for head, option in zip(heads, ordered))
    return "\n".join(lines)


def _sentence(option: Option) -> str:
    return f"{option.help} (default {option.shown})" if option.shown else option.help


def wrap(text: str, indent: int, width: int) -> str:
    """Break a text into lines: the first is already indented, the others get `indent` blanks (pflag's wrap)."""
    start = ""
    room = width - indent
    if room < 24:  # no sense in a column this narrow: a block of its own below the flag
        indent = 16
        room = width - indent
        start = "\n" + " " * indent
    if room < 24:
        return text
    room -= SLOP
    lines = []
    while text:
        line, text = _take_line(text, room)
        lines.append(line)
    return start + ("\n" + " " * indent).join(lines)


def _take_line(text: str, room: int) -> tuple[str, str]:
    if room + SLOP > len(text):
        return text, ""
    end = text.rfind(" ", 0, room)
    return (text[:end], text[end + 1 :]) if end > 0 else (text, "")
