"""The value types of `run` and `create` alone: sizes, CPUs, ulimits, sysctls, hosts, streams.

Docker's client checks the syntax of these before it asks the daemon; what they mean (is 4m of memory enough? does
this capability exist?) is the engine's affair.
"""

from __future__ import annotations

from minirun.cli.parser.grammar import ValueType
from minirun.cli.parser.types import go_integer
from minirun.light import socket

_STEPS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DIGITS = frozenset("0123456789.")


def size(text: str) -> int:
    """A size in bytes: "64m", "1.5 GiB", "512" (Docker's units.RAMInBytes; the steps are of 1024)."""
    end = 0
    while text[end : end + 1] in _DIGITS:
        end += 1
    number = text[:end]
    unit = text[end:].removeprefix(" ").lower() if text.isascii() else "?"
    step = _STEPS.get(unit[:1], 1)
    if "" in number.split(".") or unit[step > 1 :] not in ("", "i", "b", "ib"):
        raise ValueError(f"invalid size: '{text}'")
    if number.count(".") > 1:
        raise ValueError(f'strconv.ParseFloat: parsing "{number}": invalid syntax')
    return int(float(number) * step)


def swap(text: str) -> int:
    """A size, or -1 for no limit."""
    return -1 if text == "-1" else size(text)


def cpus(text: str) -> int:
    """A number of CPUs in units of a billionth: "0.5", "1/2", "1e-1" (Docker reads a rational number)."""
    try:
        above, below = _rational(text)
    except ValueError:
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if above * 10**9 % below:
        raise ValueError("value is too precise")
    return above * 10**9 // below


def _rational(text: str) -> tuple[int, int]:
    """Numerator and denominator of Go's big.Rat. Errors: ValueError."""
    if not text.isascii() or text.split() != [text] or "/" in text and "." in text:
        raise ValueError
    number, slash, below = text.partition("/")
    if slash:
        if not below[:1].isdigit() or int(below, 0) == 0:
            raise ValueError
        return go_integer(number, 0), int(below, 0)
    if number.lstrip("+-")[:2].lower() in ("0x", "0b", "0o"):
        return go_integer(number, 0), 1
    mantissa, _, exponent = number.lower().partition("e")
    power = int(exponent) if exponent else 0
    if "e" in number.lower() and not exponent or abs(power) > 300:
        raise ValueError
    whole, _, fraction = mantissa.partition(".")
    if not (whole.lstrip("+-") + fraction):
        raise ValueError
    above = int(whole + fraction if whole.lstrip("+-") else whole + "0" + fraction)
    power -= len(fraction.replace("_", ""))
    return (above * 10**power, 1) if power >= 0 else (above, 10**-power)


ULIMITS = frozenset(
    (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)


def ulimit(text: str) -> dict[str, object]:
    """ "nofile=100:200" as Docker keeps it: {"Name": "nofile", "Hard": 200, "Soft": 100}; -1 is unlimited."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    words = limits.split(":")
    if len(words) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    hard = go_integer(words[-1], 10)
    soft = go_integer(words[0], 10)
    if hard != -1 and (soft == -1 or soft > hard):
        what = f"soft: -1 (unlimited), hard: {hard}" if soft == -1 else f"{soft} > {hard}"
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {what}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _add_ulimit(before: list, new: dict) -> None:
    """The last one of a name wins."""
    before[:] = [old for old in before if old["Name"] != new["Name"]] + [new]


#: The sysctls that belong to a namespace which a container has of its own; all others would change the host.
_SYSCTLS = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)


def sysctl(text: str) -> tuple[str, str]:
    """ "net.ipv4.ip_forward=1"."""
    name, equals, value = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not whitelisted")
    return name, value


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return True
        except (OSError, ValueError):  # ValueError: a NUL byte or a surrogate in the word
            continue
    return False


def host(text: str) -> str:
    """A line for /etc/hosts, "name:address"; the address may be "host-gateway"."""
    from minirun.cli.format.strconv_quote import quote

    name, _, address = text.partition(":")
    if not name or ":" not in text:
        raise ValueError(f"bad format for add-host: {quote(text)}")
    if address != "host-gateway" and not is_address(address.strip()):
        raise ValueError(f"invalid IP address in add-host: {quote(address)}")
    return text


def server(text: str) -> str:
    """The address of a name server."""
    if not is_address(text.strip()):
        raise ValueError(f"{text} is not an ip address")
    return text.strip()


def domain(text: str) -> str:
    """A domain to search names in; "." for none."""
    name = text.strip(" ")
    if name == ".":
        return name
    labels = name.removesuffix(".").split(".")
    if (
        len(name) > 255
        or not any(letter.isalpha() for letter in name)
        or not all(
            label and label.isascii() and label[0] != "-" and label[-1] != "-" and label.replace("-", "").isalnum()
            for label in labels
        )
    ):
        raise ValueError(f"{name} is not a valid domain")
    return name


def label(text: str) -> str:
    """ "K=V" or "K"."""
    name = text.partition("=")[0].lstrip()
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if len(name.split()) != 1 or name != name.strip():
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def stream(text: str) -> str:
    """One of the three streams."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def network(text: str) -> dict[str, object]:
    """A network's name, alone or in the long form "name=NET,alias=A,driver-opt=K=V", as {"Target": NET, ...}."""
    if not text.partition("=")[0].isidentifier() or "=" not in text:
        return {"Target": text}
    name, aliases, options = "", [], {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field {field}")
        key, value = key.lower().strip(), value.lower().strip()
        if key == "name":
            name = value
        elif key == "alias":
            aliases.append(value)
        elif key == "driver-opt":
            option, equals, value = value.partition("=")
            if not equals:
                raise ValueError("invalid key value pair format in driver options")
            options[option.strip()] = value.strip()
        else:
            raise ValueError(f"invalid field key {key}")
    if not name:
        raise ValueError("network name/id is not specified")
    return {"Target": name, "Aliases": aliases, "DriverOpts": options}


def link(text: str) -> str:
    """Another container, "NAME" or "NAME:ALIAS"."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def _put(values: dict, pair: tuple[str, str]) -> None:
    values[pair[0]] = pair[1]


SIZE = ValueType("bytes", size, empty=int)
SWAP = ValueType("bytes", swap, empty=int)
CPUS = ValueType("decimal", cpus, empty=int)
ULIMIT = ValueType("ulimit", ulimit, empty=list, gather=_add_ulimit)
SYSCTL = ValueType("map", sysctl, empty=dict, gather=_put)
HOSTS = ValueType("list", host, empty=list, gather=list.append)
SERVERS = ValueType("list", server, empty=list, gather=list.append)
DOMAINS = ValueType("list", domain, empty=list, gather=list.append)
LABELS = ValueType("list", label, empty=list, gather=list.append)
STREAMS = ValueType("list", stream, empty=list, gather=list.append)
NETWORK = ValueType("network", network, empty=list, gather=list.append)
LINKS = ValueType("list", link, empty=list, gather=list.append)
