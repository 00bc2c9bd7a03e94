"""The second reader of command lines: click, built from the same tables as the fast one.

It is asked whenever the fast reader said None: for help, for what is wrong in Docker's words, for completion. Docker's
flags have a grammar of their own, which click does not know (`--rm=false`, `-m=64m`); `pflag` translates.
"""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from minirun.cli import main
from minirun.cli.parser import help, unsupported
from minirun.cli.parser.click_commands import Command, State, parameter
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

#: The word, the command that it names, and the words after it.
Resolved = tuple[str | None, click.Command | None, list[str]]


def serve(words: list[str]) -> int:
    """Do what `words` ask for and return the exit code."""
    state = State()
    try:
        # standalone_mode: click's own way of printing errors and ending the process is not Docker's
        return root().main(words, "minirun", COMPLETE_VARIABLE, standalone_mode=False, obj=state) or 0
    except MinirunError as error:
        return main.complain(error, state.verb)
    except click.ClickException as error:  # what canonical() has not caught
        return main.complain(UsageError(error.format_message()), state.verb)
    except SystemExit as end:  # completion has printed its words
        return end.code if isinstance(end.code, int) else 0
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        return 141


def completion_script(shell: str) -> str:
    """The script that makes a shell ask us. Arguments: shell (str), "bash", "zsh" or "fish"."""
    script = get_completion_class(shell)
    assert script is not None, shell
    return script(root(), {}, "minirun", COMPLETE_VARIABLE).source()


class Group(click.Group):
    """A management command: `minirun container ...`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name, invoke_without_command=False, no_args_is_help=False, help=GROUP_SUMMARIES[name], add_help_option=True
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """One name for each verb: the first of those that mean it."""
        words = main.GROUPS[self.name]  # type: ignore[index]
        return sorted(word for word in words if main.canonical_word(self.name, word) == word)  # type: ignore[arg-type]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb behind a word."""
        verb, _ = main.find([self.name, cmd_name])  # type: ignore[list-item]
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
        return sorted([*main.VERBS, *main.GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb or group of this name."""
        if cmd_name in main.GROUPS:
            return Group(cmd_name)
        return Command(main.load(cmd_name)) if cmd_name in main.VERBS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The options before the verb; --version is answered here."""
        try:
            args = canonical(main.ROOT, args)
        except UsageError:
            if not ctx.resilient_parsing:
                raise
        words = args[args.index("--") + 1 :] if "--" in args else args
        rest = super().parse_args(ctx, args)
        if ctx.resilient_parsing:
            return rest
        if ctx.params.get("version"):
            print(main.version_line())
            ctx.exit(0)
        if not words:
            print(self.get_help(ctx), file=sys.stderr)
            ctx.exit(0)
        return rest

    def get_help(self, ctx: click.Context) -> str:
        """The page with everything."""
        groups = list(GROUP_SUMMARIES.items())
        verbs = [(name, self.get_command(ctx, name).verb.summary) for name in main.VERBS]  # type: ignore[union-attr]
        return help.root_page(main.ROOT, groups, verbs, help.columns()).removesuffix("\n")

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
    return Root("minirun", params=[parameter(option) for option in main.ROOT.options], help=main.ROOT.help)
