"""The verbs as commands of click, built from the same tables as the fast reader's."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from minirun.cli import main
from minirun.cli.parser import help
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.pflag import canonical
from minirun.errors import MinirunError, UsageError


class State:
    """What is known of a command line so far: the verb's name, for errors."""

    verb = ""


def read(verb: Verb, words: list[str]) -> Options:
    """What click makes of a command line. Errors: UsageError in the words of Docker's client."""
    with Command(verb).make_context(verb.name, list(words), obj=State()) as context:
        return options_of(verb, context.params)


class Value(click.ParamType):
    """The value of one option, read by the option's own kind."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.kind.metavar or "boolean"

    def convert(self, value: object, param: object, ctx: object) -> object:
        """The word as it is, once it is known to be good; `options_of` reads it where repeated ones are gathered."""
        self.option.take({self.option.name: self.option.kind.empty()}, str(value))
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Words for this option: files, or one of a few."""
        from minirun.cli.parser import complete

        settings = ctx.find_root().params
        return [CompletionItem(word, type=kind) for word, kind in complete.values(self.option, incomplete, settings)]


def parameter(option: Option) -> click.Option:
    """click's idea of an option. A switch gets a second name, `--no-...`, which only `canonical` writes."""
    names = [f"--{option.long}"] + ([f"-{option.short}"] if option.short else [])
    if not option.kind.metavar:
        names[0] += f"/--no-{option.long}"
        return click.Option([option.name, *names], is_flag=True, default=None, hidden=option.hidden)
    return click.Option([option.name, *names], multiple=True, type=Value(option), hidden=option.hidden)


def options_of(verb: Verb, params: dict) -> Options:
    """Our options from click's values: defaults, gathered lists, named arguments.

    Errors: UsageError with Docker's block of text for too few or too many arguments.
    """
    values = verb.initial()
    for option in verb.options:
        given = params.get(option.name)
        if not option.kind.metavar:
            if given is not None:
                values[option.name] = given
            continue
        for word in given or ():
            option.take(values, word)
    if not verb.fill(values, list(params.get("words") or ())):
        raise UsageError(_wrong_count(verb), exit_code=1)
    return Options(values)


def _wrong_count(verb: Verb) -> str:
    least, most = verb.bounds()
    if most == 0:
        wants = "accepts no arguments"
    elif least == most:
        wants = f"requires exactly {least} {_plural(least)}"
    elif most is None:
        wants = f"requires at least {least} {_plural(least)}"
    elif least == 0:
        wants = f"requires at most {most} {_plural(most)}"
    else:
        wants = f"requires at least {least} and at most {most} arguments"
    return (
        f"\"minirun {verb.name}\" {wants}.\nSee 'minirun {verb.name} --help'.\n\n"
        f"Usage:  minirun {verb.name} {verb.usage}\n\n{verb.summary}"
    )


def _plural(count: int) -> str:
    return "argument" if count == 1 else "arguments"


class Words(click.Argument):
    """The arguments of a verb, completed by what each of them means."""

    def __init__(self, verb: Verb) -> None:
        super().__init__(["words"], nargs=-1, required=False, type=click.UNPROCESSED)
        self.verb = verb

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Containers by state, images, or files."""
        from minirun.cli.parser import complete

        given = list(ctx.params.get("words") or ())
        settings = ctx.find_root().params
        return [
            CompletionItem(word, type=kind, help=told)
            for word, kind, told in complete.arguments(self.verb, given, incomplete, settings)
        ]


class Command(click.Command):
    """One verb."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        super().__init__(
            verb.name,
            params=[*map(parameter, verb.options), Words(verb)],
            help=verb.help,
            short_help=verb.summary,
            callback=self.act,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """pflag's grammar first."""
        ctx.find_root().obj.verb = self.verb.name
        try:
            args = canonical(self.verb, args)
        except MinirunError:
            if not ctx.resilient_parsing:  # a line that is still being typed need not be right
                raise
        return super().parse_args(ctx, args)

    def act(self, **params: object) -> int:
        """Do it."""
        settings = options_of(main.ROOT, click.get_current_context().find_root().params)
        return main.act(settings, self.verb, options_of(self.verb, params))

    def get_help(self, ctx: click.Context) -> str:
        """The page, in Docker's layout."""
        return help.verb_page(self.verb, help.columns()).removesuffix("\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The flags, without the spellings that are ours alone."""
        return [
            item
            for item in super().shell_complete(ctx, incomplete)
            if not item.value.startswith("--no-") or item.value[2:] in self.verb.long
        ]
