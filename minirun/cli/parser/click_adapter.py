"""The second reader of command lines: click, whose commands are built from the same tables as the fast reader.

It is asked whenever the fast reader said None: for help, for what is wrong in Docker's words, for completion. Docker's
flags have a grammar of their own, which click does not know (`--rm=false`, `-m=64m`); `pflag` translates.
"""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem, get_completion_class

from minirun.cli import commands
from minirun.cli.parser import complete, help, unsupported
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.pflag import canonical
from minirun.errors import ClientError, MinirunError, UsageError

GROUP_SUMMARIES = {
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage minirun",
    "volume": "Manage volumes",
}
COMPLETE_VARIABLE = "_MINIRUN_COMPLETE"

#: A command line that was read: the global options, the verb, its options.
Line = tuple[Options, Verb, Options]
#: The word, the command that it names, and the words after it.
Resolved = tuple[str | None, click.Command | None, list[str]]


def read(words: list[str], name: list[str]) -> Line | int:
    """Read a command line. The verb's name is added to `name`, for errors.

    Returns: global options, verb and its options; or the exit code where help or completion was all that was asked for.
    Errors: MinirunError in the words of Docker's client.
    """
    try:
        # standalone_mode: click's own way of printing errors and ending the process is not Docker's
        return root().main(words, "minirun", COMPLETE_VARIABLE, standalone_mode=False, obj=name) or 0
    except click.ClickException as error:  # what canonical() has not caught
        raise UsageError(error.format_message()) from None
    except SystemExit as end:  # completion has printed its words
        return end.code if isinstance(end.code, int) else 0
    except click.Abort:
        return 130


def completion_script(shell: str) -> str:
    """The script that makes a shell ask us. Arguments: shell (str), "bash", "zsh" or "fish"."""
    script = get_completion_class(shell)
    assert script is not None, shell
    return script(root(), {}, "minirun", COMPLETE_VARIABLE).source()


def read_verb(verb: Verb, words: list[str]) -> Options:
    """The options of one verb, read by click. Errors: UsageError in the words of Docker's client."""
    with Command(verb).make_context(verb.name, list(words), obj=[]) as context:
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
            callback=self.line,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """pflag's grammar first."""
        ctx.find_root().obj.append(self.verb.name)
        try:
            args = canonical(self.verb, args)
        except MinirunError:
            if not ctx.resilient_parsing:  # a line that is still being typed need not be right
                raise
        return super().parse_args(ctx, args)

    def line(self, **params: object) -> Line:
        """click's callback: what was read."""
        settings = options_of(commands.ROOT, click.get_current_context().find_root().params)
        return settings, self.verb, options_of(self.verb, params)

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


class Group(click.Group):
    """A management command: `minirun container ...`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name, invoke_without_command=False, no_args_is_help=False, help=GROUP_SUMMARIES[name], add_help_option=True
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """One name for each verb: the first of those that mean it."""
        words = commands.GROUPS[self.name]  # type: ignore[index]
        return sorted(word for word in words if commands.canonical_word(self.name, word) == word)  # type: ignore[arg-type]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb behind a word."""
        verb, _ = commands.find([self.name, cmd_name])  # type: ignore[list-item]
        return Command(verb) if verb else None

    def get_help(self, ctx: click.Context) -> str:
        """The list of its commands."""
        verbs = [(word, self.get_command(ctx, word).verb.summary) for word in self.list_commands(ctx)]  # type: ignore[union-attr]
        return help.group_page(self.name, GROUP_SUMMARIES[self.name], verbs).removesuffix("\n")  # type: ignore[arg-type, index]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Help when no verb follows, as Docker: on stderr."""
        if not args and not ctx.resilient_parsing:
            print(self.get_help(ctx), file=sys.stderr)
            ctx.exit(0)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """The verb that the words name. Errors: ClientError for one that only Docker has."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            if args[0] in unsupported.GROUP_COMMANDS[self.name]:  # type: ignore[index]
                raise ClientError(f"minirun does not have '{self.name} {args[0]}' yet", exit_code=1)
            print(self.get_help(ctx), file=sys.stderr)
            ctx.exit(1)
        return args[0], command, args[1:]


class Root(click.Group):
    """`minirun` itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs and groups."""
        return sorted([*commands.VERBS, *commands.GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb or group of this name."""
        if cmd_name in commands.GROUPS:
            return Group(cmd_name)
        return Command(commands.load(cmd_name)) if cmd_name in commands.VERBS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The options before the verb; --version is answered here."""
        try:
            args = canonical(commands.ROOT, args)
        except UsageError:
            if not ctx.resilient_parsing:
                raise
        words = args[args.index("--") + 1 :] if "--" in args else args
        rest = super().parse_args(ctx, args)
        if ctx.resilient_parsing:
            return rest
        if ctx.params.get("version"):
            print(commands.version_line())
            ctx.exit(0)
        if not words:
            print(self.get_help(ctx), file=sys.stderr)
            ctx.exit(0)
        return rest

    def get_help(self, ctx: click.Context) -> str:
        """The page with everything."""
        groups = list(GROUP_SUMMARIES.items())
        verbs = [(name, self.get_command(ctx, name).verb.summary) for name in commands.VERBS]  # type: ignore[union-attr]
        return help.root_page(commands.ROOT, groups, verbs, help.columns()).removesuffix("\n")

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """The verb that the words name. Errors: ClientError for a word that is none."""
        name = args[0]
        if name == "help" and not ctx.resilient_parsing:
            self.show_topic(ctx, args[1:])
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            if name in unsupported.COMMANDS:
                raise ClientError(f"minirun does not have '{name}' yet", exit_code=1)
            raise ClientError(f"minirun: '{name}' is not a minirun command.\nSee 'minirun --help'", exit_code=1)
        return name, command, args[1:]

    def show_topic(self, ctx: click.Context, topic: list[str]) -> None:
        """`minirun help [VERB]`; does not return."""
        command: click.Command | None = self
        for word in topic:
            command = command.get_command(ctx, word) if isinstance(command, click.Group) else None
        if command is None:
            raise ClientError(f"unknown help topic: {' '.join(topic)}", exit_code=1)
        print(command.get_help(ctx))
        ctx.exit(0)


def root() -> Root:
    """The command that has all others."""
    return Root("minirun", params=[parameter(option) for option in commands.ROOT.options], help=commands.ROOT.help)
