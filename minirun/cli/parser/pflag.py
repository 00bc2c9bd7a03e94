"""pflag, the grammar of Docker's flags, and its error messages.

`canonical` writes a command line down in its one long form, which click understands too. It is stricter than the fast
reader in one way only: it can say what is the matter.
"""

from __future__ import annotations

from minirun.cli.parser import unsupported
from minirun.cli.parser.grammar import Option, Verb
from minirun.cli.parser.types import boolean
from minirun.errors import UsageError


def canonical(verb: Verb, words: list[str]) -> list[str]:
    """The same command line in its one long form: `-itm64m alpine` → --interactive --tty --memory=64m -- alpine.

    Errors: UsageError, also for a flag that Docker has and minirun has not.
    """
    known = {**{flag.long: flag for flag in unsupported.flags(verb.name)}, **verb.long}
    short = {**{flag.short: flag for flag in unsupported.flags(verb.name) if flag.short}, **verb.short}
    flags: list[str] = []
    arguments: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if not verb.interspersed:
                break
        elif word == "--":
            break
        elif word.startswith("--"):
            _long_flag(word, rest, known, flags)
            if _ends_options(known.get(word[2:].partition("=")[0])):
                break
        else:
            _short_flags(word, rest, short, flags)
    return [*flags, "--", *arguments, *rest]


def _long_flag(word: str, rest: list[str], known: dict, flags: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise UsageError(f"bad flag syntax: {word}")
    if name == "help" and name not in known:
        flags.append("--help")
        return
    option = known.get(name)
    if option is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals and _takes_value(option):
        if not rest:
            raise UsageError(f"flag needs an argument: {word}")
        value = rest.pop(0)
    _append(option, value if equals or _takes_value(option) else "true", flags)


def _short_flags(word: str, rest: list[str], short: dict, flags: list[str]) -> None:
    letters = word[1:]
    while letters:
        option = short.get(letters[0])
        if option is None and letters[0] == "h":
            print("Flag shorthand -h has been deprecated, please use --help")
            flags.append("--help")
            letters = letters[1:]
            continue
        if option is None:
            raise UsageError(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        if len(letters) > 2 and letters[1] == "=":
            _append(option, letters[2:], flags)
            return
        if not _takes_value(option):
            _append(option, "true", flags)
            letters = letters[1:]
            continue
        if len(letters) == 1 and not rest:
            raise UsageError(f"flag needs an argument: '{letters}' in -{letters}")
        _append(option, letters[1:] or rest.pop(0), flags)
        return


def _takes_value(option: Option | unsupported.Missing) -> bool:
    return option.takes_value if isinstance(option, unsupported.Missing) else bool(option.kind.metavar)


def _ends_options(option: object) -> bool:
    return isinstance(option, Option) and option.kind.ends_options


def _append(option: Option | unsupported.Missing, value: str, flags: list[str]) -> None:
    if isinstance(option, unsupported.Missing):
        if not option.takes_value and value in ("false", "0"):
            return  # asked not to be used: that much we can do
        raise UsageError(f"minirun does not have --{option.long} yet")
    if option.kind.metavar:
        flags.append(f"--{option.long}={value}")
        return
    option.take({}, value)  # a switch that is given no truth: Docker's words
    flags.append(f"--{option.long}" if boolean(value) else f"--no-{option.long}")
