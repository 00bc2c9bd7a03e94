"""The entry point: `minirun [OPTIONS] VERB ...`, from a command line to an exit code.

A well-formed command line is read by `parser.grammar`; any other, and every request for help, by click, which is
built from the same tables (`parser.click_adapter`).
"""

from __future__ import annotations

import sys

from minirun.cli.commands import ROOT, find, version_line
from minirun.cli.parser import grammar
from minirun.cli.parser.grammar import Options, Verb
from minirun.errors import MinirunError
from minirun.light import os


def main(argv: list[str] | None = None) -> None:
    """Carry out the command line and end the process; never returns."""
    finish(serve(sys.argv[1:] if argv is None else argv[1:]))


def serve(words: list[str]) -> int:
    """Carry out a command line.

    Arguments: words (list of str), without the program's name. Returns: the exit code. A failure is one line on stderr.
    """
    verb: list[str] = []  # the verb's name, once it is known
    try:
        line = None if b"_MINIRUN_COMPLETE" in os.environ else _read(words, verb)
        if line is None:
            from minirun.cli.parser import click_adapter  # click takes longer to load than a container takes to start

            line = click_adapter.read(words, verb)
        return line if isinstance(line, int) else act(*line)
    except MinirunError as error:
        return complain(error, verb[-1] if verb else "")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has closed its end
        _redirect_output_to_dev_null()
        return 141


def _read(words: list[str], name: list[str]) -> tuple[Options, Verb, Options] | int | None:
    """The fast reader: global options, verb and its options; an exit code for --version; None for what click must read.

    The verb's name is added to `name`, for errors.
    """
    settings = grammar.read(ROOT, words)
    if settings is None:
        return None
    if settings.flag("version"):
        print(version_line())
        return 0
    if settings.words("words")[:1] == ["run"]:
        expect_a_start(settings)
    verb, rest = find(settings.words("words"))
    options = grammar.read(verb, rest) if verb else None
    if verb is None or options is None:
        return None
    name.append(verb.name)
    return settings, verb, options


def expect_a_start(settings: Options) -> None:
    """Fork the container's shim before `run`'s options are read: loading its modules takes longest (see `prefork`).

    If there is something wrong with the words it ends with us, and has done nothing.
    """
    if settings.flag("explain"):
        return  # it would not tell what it does
    from minirun.engine.daemon import Daemon
    from minirun.engine.shim import prefork

    try:
        daemon = Daemon(settings.text("root"), settings.text("exec_root"), settings.text("config_file"))
    except MinirunError:
        return  # `act` comes to the same, when the words have proved right
    prefork.fork(daemon)


def act(settings: Options, verb: Verb, options: Options) -> int:
    """Call the verb, as the listener of --explain and with the errors of the operating system in words."""
    from minirun.engine.daemon import Daemon

    daemon = Daemon(settings.text("root"), settings.text("exec_root"), settings.text("config_file"))
    if settings.flag("explain"):
        from minirun.lecture import explain  # rarely asked for

        explain.attach()
    try:
        return verb.act(daemon, options)
    except MinirunError:
        if settings.flag("debug"):
            _print_traceback()
        raise
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:  # no rights, a full disk: where no floor below has a better message
        if settings.flag("debug"):
            _print_traceback()
        from minirun import store

        raise MinirunError(
            f"{error.filename or verb.name}: {os.strerror(error.errno or 0).lower()}", hint=store.disk_hint(error)
        ) from None
    except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
        if settings.flag("debug"):
            _print_traceback()
        raise MinirunError(
            f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself; --debug shows where"
        ) from None


def complain(error: MinirunError, verb: str) -> int:
    """Print why a verb failed, and return the exit code."""
    from minirun.cli import error_text
    from minirun.errors import ProgramError

    # Docker's `exec` prints why a program could not be started where the program's own output would have gone.
    to = sys.stdout if isinstance(error, ProgramError) and verb.endswith("exec") else sys.stderr
    print(error_text.complaint(error, verb), file=to)
    return error_text.exit_code(error, verb)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _redirect_output_to_dev_null() -> None:
    """Let the flush at exit write what is buffered for a closed pipe to /dev/null instead of failing again."""
    nowhere = os.open("/dev/null", os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)


def finish(code: int) -> None:
    """End the process at once: all output is written, but Python does not tidy up (2 ms)."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 141
    except OSError as reason:  # a full disk behind `>`: the output is lost, and must not be reported as done
        code = code or 1
        os.write(2, f"minirun: write to standard output: {os.strerror(reason.errno or 0).lower()}\n".encode())
    os._exit(code)
