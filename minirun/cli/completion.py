"""`completion`: the script by which a shell completes minirun's verbs, flags, containers and images.

    source <(minirun completion bash)                      in ~/.bashrc; `zsh` likewise in ~/.zshrc
    minirun completion fish > ~/.config/fish/completions/minirun.fish

The script calls minirun itself, with `_MINIRUN_COMPLETE` in the environment, and click answers (parser.click_adapter).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Options, Verb
from minirun.errors import ClientError

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

SHELLS = ("bash", "zsh", "fish")


def completion(daemon: Daemon, options: Options) -> int:
    """Print the script for a shell."""
    if options.text("shell") not in SHELLS:
        raise ClientError(f"minirun completes words in bash, zsh and fish, not in {options.text('shell')}", exit_code=1)
    from minirun.cli.parser import click_adapter

    print(click_adapter.completion_script(options.text("shell")))
    return 0


VERBS = {
    "completion": Verb(
        "completion",
        "Generate the autocompletion script for the specified shell",
        "bash|zsh|fish",
        completion,
        takes=("shell",),
    ),
}
