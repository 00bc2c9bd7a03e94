"""The grammar of Docker's command line as data, options and verbs, and the fast reader of it.

Docker's client reads its words with pflag, which is POSIX with GNU's long options: `-it` is `-i -t`, `-m64m` and
`-m 64m` and `-m=64m` are one, `--rm` is `--rm=true`, `--` ends the options. `run`, `create` and `exec` stop at the
first word that is not an option, because what follows belongs to the container; all others go on.

The reader here knows good command lines only. Of anything else it says None, and `click_adapter`, built from the same
tables, finds the words for what is wrong. That keeps click, which takes longer to load than a container takes to
start, away from every command line that is in order.
"""

from __future__ import annotations

from minirun.errors import UsageError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeVar

    from minirun.engine.daemon import Daemon

    T = TypeVar("T")


class ValueType:
    """The type of an option's value (pflag's Value).

    Arguments: metavar (str), as help shows it, "" for a switch; read, turns the word into a value or raises
    ValueError with the reason in Docker's words; gather, None when the last word wins, else a function (old value,
    new one) that adds to what came before; empty, the class of the value when the option is not given; ends_options,
    for a switch after which all words are arguments; choices, the words that completion offers.
    """

    __slots__ = ("metavar", "read", "gather", "empty", "ends_options", "choices")

    def __init__(  # noqa: PLR0913 (a row of a table)
        self,
        metavar: str,
        read: Callable[[str], object],
        *,
        empty: Callable[[], object] = str,
        gather: Callable[[Any, Any], None] | None = None,
        ends_options: bool = False,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.metavar = metavar
        self.read = read
        self.gather = gather
        self.empty = empty
        self.ends_options = ends_options
        self.choices = choices


class Option:
    """One flag of a verb.

    Arguments: long (str), without dashes; kind; help (str), one sentence; short (str), one letter; default, for a
    flag that is not given (the kind's own empty value if left out); shown (str), the default as help prints it.
    A hidden one works and is not in the help.
    """

    __slots__ = ("long", "short", "name", "kind", "default", "help", "shown", "hidden")

    def __init__(  # noqa: PLR0913 (a row of a table)
        self,
        long: str,
        kind: ValueType,
        help: str = "",
        *,
        short: str = "",
        default: object = ...,
        shown: str = "",
        hidden: bool = False,
    ) -> None:
        self.long = long
        self.short = short
        self.name = long.replace("-", "_")
        self.kind = kind
        self.default = default
        self.help = help
        self.shown = shown
        self.hidden = hidden

    @property
    def flag(self) -> str:
        """As Docker names it in errors: "-m, --memory"."""
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"

    def initial(self) -> object:
        """The value when the flag is not given; a new list each time."""
        return self.kind.empty() if self.default is ... else self.default

    def take(self, values: dict[str, object], text: str) -> None:
        """Read one word into `values`. Errors: UsageError in the words of Docker's client."""
        try:
            value = self.kind.read(text)
        except ValueError as reason:
            from minirun.cli.format.strconv_quote import quote

            raise UsageError(f'invalid argument {quote(text)} for "{self.flag}" flag: {reason}') from None
        if self.kind.gather:
            self.kind.gather(values[self.name], value)
        else:
            values[self.name] = value


class Options:
    """The options and arguments of a command line, by name: a long flag's with "_" for "-".

    Each is asked for by its type; another type than its `ValueType` gives is a mistake in minirun.
    """

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def __repr__(self) -> str:
        return "Options(" + ", ".join(f"{name}={value!r}" for name, value in self.values.items() if value) + ")"

    def flag(self, name: str) -> bool:
        """A switch."""
        return self._typed(name, bool)

    def text(self, name: str) -> str:
        """One word; "" when it was not given."""
        return self._typed(name, str)

    def number(self, name: str) -> int:
        """A number; 0 when it was not given."""
        return self._typed(name, int)

    def optional_number(self, name: str) -> int | None:
        """A number; None when it was not given, where 0 means something."""
        return None if self.values[name] is None else self.number(name)

    def words(self, name: str) -> list[str]:
        """The words of a flag that may be repeated, or the arguments."""
        return self._typed(name, list)

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """The conditions of --filter."""
        return self._typed(name, list)

    def objects(self, name: str) -> list[dict]:
        """What becomes JSON objects of Docker's API: --mount, --ulimit, --network."""
        return self._typed(name, list)

    def mapping(self, name: str) -> dict[str, str]:
        """KEY=VALUE, the last one of a key."""
        return self._typed(name, dict)

    def _typed(self, name: str, kind: type[T]) -> T:
        value = self.values[name]
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}, not a {kind.__name__}")
        return value


class Verb:
    """One command: its words, its flags and the function that does it.

    Arguments: name (str), "run" or "container run"; summary (str), its line in the list of commands; usage (str),
    the words after it; takes, the arguments' names in order: "image" one word, "reference?" one or none, "words*" the
    rest, "containers+" the rest and at least one; options; act, called with Options, returns the exit code.
    `interspersed` is False where the options end at the first argument. aliases, all words for it within its group.
    """

    __slots__ = (
        "name",
        "summary",
        "usage",
        "takes",
        "options",
        "act",
        "interspersed",
        "aliases",
        "long",
        "short",
        "help",
    )

    def __init__(  # noqa: PLR0913 (a row of a table)
        self,
        name: str,
        summary: str,
        usage: str,
        act: Callable[[Daemon, Options], int],
        *,
        takes: tuple[str, ...] = (),
        options: Iterable[Option] = (),
        interspersed: bool = True,
        aliases: tuple[str, ...] = (),
        help: str = "",
    ) -> None:
        self.name = name
        self.summary = summary
        self.usage = usage
        self.takes = takes
        self.options = tuple(options)
        self.act = act
        self.interspersed = interspersed
        self.aliases = aliases
        self.help = help or summary
        self.long = {option.long: option for option in self.options}
        self.short = {option.short: option for option in self.options if option.short}

    def named(self, name: str, **changes: object) -> Verb:
        """The same verb under another name: `minirun container ls` is `minirun ps`."""
        same = {
            "takes": self.takes,
            "options": self.options,
            "interspersed": self.interspersed,
            "help": self.help,
            "summary": self.summary,
            "usage": self.usage,
            "act": self.act,
        }
        return Verb(name, **{**same, **changes})  # type: ignore[arg-type]

    def initial(self) -> dict[str, object]:
        """The value of each option when the command line is empty."""
        return {option.name: option.initial() for option in self.options}

    def bounds(self) -> tuple[int, int | None]:
        """How many arguments at least and at most (None: any number)."""
        least = most = 0
        for name in self.takes:
            if name[-1] == "*":
                return least, None
            if name[-1] == "+":
                return least + 1, None
            least += name[-1] != "?"
            most += 1
        return least, most

    def fill(self, values: dict[str, object], arguments: list[str]) -> bool:
        """Give each argument its name in `values`. False when there are too few or too many."""
        least, most = self.bounds()
        if len(arguments) < least or most is not None and len(arguments) > most:
            return False
        for place, name in enumerate(self.takes):
            if name[-1] in "*+":
                values[name[:-1]] = arguments[place:]
            elif name[-1] == "?":
                values[name[:-1]] = arguments[place] if place < len(arguments) else ""
            else:
                values[name] = arguments[place]
        return True


def read(verb: Verb, words: list[str]) -> Options | None:
    """The options that a well-formed command line asks for; None for any other, be it wrong or a call for help.

    Arguments: words, those after the verb.
    """
    values = verb.initial()
    try:
        rest = read_flags(verb, words, values)
    except UsageError:
        return None
    if rest is None or not verb.fill(values, rest):
        return None
    return Options(values)


def read_flags(verb: Verb, words: list[str], values: dict[str, object]) -> list[str] | None:
    """Take the flags out of `words` into `values`; what is left, or None. Errors: UsageError for a bad value."""
    rest: list[str] = []
    place, end = 0, len(words)
    while place < end:
        word = words[place]
        place += 1
        if word[:1] != "-" or word == "-":
            rest.append(word)
            if not verb.interspersed:
                break
        elif word == "--":
            break
        elif word[1] == "-":
            name, equals, text = word[2:].partition("=")
            option = verb.long.get(name)
            if option is None:
                return None
            if not equals:
                if option.kind.metavar == "":
                    text = "true"
                elif place < end:
                    text = words[place]
                    place += 1
                else:
                    return None
            option.take(values, text)
            end = place if option.kind.ends_options else end
        else:
            taken = _read_cluster(verb, word, words[place] if place < end else None, values)
            if taken is None:
                return None
            place += taken
    return rest + words[place:]


def _read_cluster(verb: Verb, word: str, following: str | None, values: dict[str, object]) -> int | None:
    """Read "-itm64m"; how many further words belong to it (0 or 1), or None."""
    place = 1
    while place < len(word):
        option = verb.short.get(word[place])
        place += 1
        if option is None:
            return None
        if word[place : place + 1] == "=" and len(word) > place + 1:  # "-m=64m"
            option.take(values, word[place + 1 :])
            return 0
        if option.kind.metavar == "":
            option.take(values, "true")
        elif place < len(word):
            option.take(values, word[place:])
            return 0
        elif following is not None:
            option.take(values, following)
            return 1
        else:
            return None
    return 0
