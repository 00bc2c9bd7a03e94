"""`version info` and `system check`: minirun about itself and this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.format.units import binary_size
from minirun.cli.gotemplate.exec import Template
from minirun.cli.gotemplate.lex import TemplateError
from minirun.cli.gotemplate.shape import shaped
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import ClientError

if TYPE_CHECKING:
    from minirun.engine.check.check import Report
    from minirun.engine.daemon import Daemon

FORMAT = Option("format", STRING, "Format the output using the given Go template", short="f")
FIELDS = (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "GoVersion"), ("OS/Arch", "Os"))


def version(daemon: Daemon, options: Options) -> int:
    """Print the version."""
    from minirun.engine import info

    facts = info.version()
    if options.text("format"):
        return _print_through(options.text("format"), "version", "system.versionInfo", facts)
    client, server = facts["Client"], facts["Server"]
    lines = [
        "Client:",
        *_version_lines(client, "", 18),
        f" {'Context:':<19}{client['Context']}",
        "",
        f"Server: {server['Platform']['Name']}",
        " Engine:",
        *_version_lines(server, " ", 17),
        f"  {'Kernel version:':<18}{server['KernelVersion']}",
    ]
    print("\n".join(lines))
    return 0


def _version_lines(facts: dict, indent: str, width: int) -> list[str]:
    shown = {**facts, "Os": f"{facts['Os']}/{facts['Arch']}", "GoVersion": facts["GoVersion"].removeprefix("Python ")}
    return [f"{indent} {title + ':':<{width}} {shown[key]}" for title, key in FIELDS]


def info(daemon: Daemon, options: Options) -> int:
    """Print the number of containers and images, drivers, and facts about the machine."""
    from minirun.engine import info

    facts = info.info(daemon)
    if options.text("format"):
        return _print_through(options.text("format"), "", "system.info", facts)
    print("\n".join(info_lines(facts)))
    return 0


def info_lines(facts: dict) -> list[str]:
    """`docker info`, in its order, without what minirun does not have."""
    lines = [
        "Client:",
        " Context:    default",
        " Debug Mode: false",
        "",
        "Server:",
        f" Containers: {facts['Containers']}",
        f"  Running: {facts['ContainersRunning']}",
        f"  Paused: {facts['ContainersPaused']}",
        f"  Stopped: {facts['ContainersStopped']}",
        f" Images: {facts['Images']}",
        f" Server Version: {facts['ServerVersion']}",
        f" Storage Driver: {facts['Driver']}",
        *(f"  {name}: {value}" for name, value in facts["DriverStatus"]),
        f" Logging Driver: {facts['LoggingDriver']}",
        f" Cgroup Driver: {facts['CgroupDriver']}",
        f" Cgroup Version: {facts['CgroupVersion']}",
        " Plugins:",
        *(f"  {kind}: {' '.join(names)}" for kind, names in facts["Plugins"].items() if names),
        f" Runtimes: {' '.join(facts['Runtimes'])}",
        f" Default Runtime: {facts['DefaultRuntime']}",
    ]
    if facts["SecurityOptions"]:
        lines.append(" Security Options:")
        for option in facts["SecurityOptions"]:
            name, *rest = [pair.partition("=")[::2] for pair in option.split(",")]
            lines += [f"  {name[1]}", *(f"   {key.capitalize()}: {value}" for key, value in rest)]
    return [
        *lines,
        f" Kernel Version: {facts['KernelVersion']}",
        f" Operating System: {facts['OperatingSystem']}",
        f" OSType: {facts['OSType']}",
        f" Architecture: {facts['Architecture']}",
        f" CPUs: {facts['NCPU']}",
        f" Total Memory: {binary_size(facts['MemTotal'])}",
        f" Name: {facts['Name']}",
        f" ID: {facts['ID']}",
        f" Docker Root Dir: {facts['DockerRootDir']}",
        f" Debug Mode: {str(facts['Debug']).lower()}",
        f" Live Restore Enabled: {str(facts['LiveRestoreEnabled']).lower()}",
    ]


def _print_through(text: str, name: str, kind: str, facts: dict) -> int:
    try:
        template = Template(text, name)
    except TemplateError as error:
        raise ClientError(f"template parsing error: {error}", exit_code=64) from None
    try:
        print(template.execute(shaped(facts), lambda field: f"can't evaluate field {field} in type {kind}"))
    except TemplateError as error:
        print(error.partial)
        print(error, file=sys.stderr)
        return 1
    return 0


def check(daemon: Daemon, options: Options) -> int:
    """Check the kernel for the features that containers need, and look for stale state; with --repair clear it.

    With --repair that is cleared away. The exit code is 1 when something is missing or left over.
    """
    from minirun.engine.check import check as host

    report = host.run(daemon, options.flag("repair"))
    print("\n".join(check_lines(report, options.flag("repair"))))
    return 0 if report.good else 1


def check_lines(report: Report, repair: bool) -> list[str]:
    """What `system check` prints: a line for each feature of the kernel, then one for each thing left over."""
    width = max(len(name) for name, _, _ in report.features)
    lines = [f"{'ok' if ok else 'MISSING':<7}  {name:<{width}}  {note}".rstrip() for name, ok, note in report.features]
    if not report.problems:
        return [*lines, "", "Nothing is left over."]
    lines += ["", "Left over:"]
    for problem in report.problems:
        became = " (cleared)" if problem.cleared else f": {problem.why}" if problem.why else ""
        lines.append(f"  {problem.what}{became}")
    if not repair:
        lines += ["", "`minirun system check --repair` clears this away."]
    return lines


VERBS = {
    "version": Verb("version", "Show the minirun version information", "[OPTIONS]", version, options=(FORMAT,)),
    "info": Verb("info", "Display system-wide information", "[OPTIONS]", info, options=(FORMAT,)),
    "system check": Verb(
        "system check",
        "Compare the kernel with what minirun remembers",
        "[OPTIONS]",
        check,
        options=(Option("repair", BOOL, "Clear away what is ours and does not belong"),),
    ),
}
