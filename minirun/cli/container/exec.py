"""`exec`: one more process in a running container."""

from __future__ import annotations

import os

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, LIST, STRING, VARIABLES
from minirun.errors import ClientError, EngineError, ProgramError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def execute(daemon: Daemon, options: Options) -> int:
    """Run a command in a running container. Returns: the command's exit code, 0 with -d."""
    from minirun.engine import exec
    from minirun.engine.container import index
    from minirun.engine.options import ExecOptions

    variables = options.words("env")
    if options.words("env_file"):
        from minirun.engine.spec import env  # few command lines name such files

        variables = env.variables(variables, env.read_files(options.words("env_file")), os.environ)
    container = index.find(daemon, options.text("container"))
    if options.flag("tty") and options.flag("interactive") and not options.flag("detach") and not os.isatty(0):
        raise ClientError("the input device is not a TTY", exit_code=1)
    try:
        return exec.execute(container, ExecOptions.of(options.values, env=variables))
    except EngineError as error:
        if error.message.startswith("unable to find "):  # no such user: Docker finds out while it starts the program
            raise ProgramError(error.message, exit_code=126) from None
        raise


VERBS = {
    "exec": Verb(
        "exec",
        "Run a command in a running container",
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        execute,
        takes=("container", "command+"),
        interspersed=False,
        options=(
            Option("detach", BOOL, "Detached mode: run command in the background", short="d"),
            Option("detach-keys", STRING, "Override the key sequence for detaching a container"),
            Option("env", VARIABLES, "Set environment variables", short="e"),
            Option("env-file", LIST, "Read in a file of environment variables"),
            Option("interactive", BOOL, "Keep STDIN open even if not attached", short="i"),
            Option("tty", BOOL, "Allocate a pseudo-TTY", short="t"),
            Option("user", STRING, "Username or UID (format: <name|uid>[:<group|gid>])", short="u"),
            Option("workdir", STRING, "Working directory inside the container", short="w"),
        ),
    ),
}
