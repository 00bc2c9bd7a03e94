"""`port`: the published ports of a container; and how `ps` and its filters show them."""

from __future__ import annotations

from minirun.cli.parser.grammar import Options, Verb
from minirun.cli.run import publish
from minirun.engine.container import index
from minirun.errors import ClientError, EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container.container import Container, Status
    from minirun.engine.daemon import Daemon

    Ports = dict[str, list[dict[str, str]] | None]


def port(daemon: Daemon, options: Options) -> int:
    """List the published ports of a container, or those of one of its own ports."""
    container = index.find(daemon, options.text("container"))
    ports = container.ports() if container.status().state in ("running", "paused") else {}
    if options.text("private_port"):
        word = _private(options.text("private_port"))
        if not ports.get(word):
            raise ClientError(f"Error: No public port '{word}' published for {options.text('container')}", exit_code=1)
        ports, show = {word: ports[word]}, "{1}:{2}"
    else:
        show = "{0} -> {1}:{2}"
    for word, bindings in ports.items():
        for binding in bindings or ():
            print(show.format(word, binding["HostIp"], binding["HostPort"]))
    return 0


def _private(text: str) -> str:
    """ "80" as "80/tcp". Errors: ClientError in the words of Docker's client."""
    number, slash, proto = text.partition("/")
    word = f"{number}/{proto if slash else 'tcp'}"
    try:
        publish.port_range(number)
    except ValueError as reason:
        raise ClientError(str(reason), exit_code=1) from None
    return word


# ---- in `ps` ---------------------------------------------------------------------------------------------------


def listed(ports: Ports) -> str:
    """The PORTS column: what is published under the same number, in runs, then what is published under another."""
    runs: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    others: list[str] = []
    for inner, address, outer, proto in sorted(_lines(ports)):
        if address and inner != outer:
            others.append(f"{address}:{outer}->{inner}/{proto}")
            continue
        run = runs.get((address, proto))
        if run and inner == run[1] + 1:
            run[1] = inner
            continue
        if run:
            done.append(_run(address, proto, run))
            run[:] = inner, inner
        else:
            runs[address, proto] = [inner, inner]
    done += [_run(address, proto, run) for (address, proto), run in runs.items()]
    return ", ".join(done + others)


def _lines(ports: Ports) -> list[tuple[int, str, int, str]]:
    """(port of the container, address of the host, its port, protocol) for each binding; "" and 0 where none is."""
    found = []
    for word, bindings in ports.items():
        number, _, proto = word.partition("/")
        found += [
            (int(number), binding["HostIp"], int(binding["HostPort"]), proto)
            for binding in bindings or [{"HostIp": "", "HostPort": "0"}]
        ]
    return found


def _run(address: str, proto: str, run: list[int]) -> str:
    first, last = run
    ports = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{ports}->{ports}/{proto}" if address else f"{ports}/{proto}"


def filtered(name: str, values: list[str]) -> Callable[[Container, Status], bool]:
    """The test of `ps --filter publish=8080-8090/tcp` (ports of the host) or `expose=80` (ports of the container).

    Errors: EngineError for what is no port.
    """
    wanted: set[tuple[int, str]] = set()
    for value in values:
        text, proto = publish.split_proto(value)
        try:
            first, last = publish.port_range(text)
        except ValueError as reason:
            raise EngineError(f"error while looking up for {name} {value}: {reason}", exit_code=1) from None
        wanted.update((number, proto) for number in range(first, last + 1))

    def fits(container: Container, status: Status) -> bool:
        ports = container.ports() if status.state in ("running", "paused", "restarting") else {}
        there = {(outer if name == "publish" else inner, proto) for inner, _, outer, proto in _lines(ports)}
        return not wanted.isdisjoint(there)

    return fits


VERBS = {
    "port": Verb(
        "port",
        "List port mappings or a specific mapping for the container",
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        port,
        takes=("container", "private_port?"),
    ),
}
