"""Image references: parsed and normalized to the full name, as in Docker (distribution/reference).

    alpine                          docker.io/library/alpine:latest
    alpine:3.20                     docker.io/library/alpine:3.20
    me/tool                         docker.io/me/tool:latest
    host:5000/a/b@sha256:abc...     unchanged: the first part is a host because it has a dot, a colon, or is "localhost"

The familiar form ("alpine:3.20") is displayed, the full one is stored and sent. The grammar is that of
github.com/distribution/reference, which Docker, containerd and Podman use; there it is regular expressions, here plain
loops, because `import re` would add 10 ms to the start of a container.
"""

from __future__ import annotations

from minirun import stringid
from minirun.errors import ClientError

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
NAME_MAX = 255
TAG_MAX = 128

_LOWER_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER_ALNUM | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG = _ALNUM | frozenset("_.-")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

INVALID = "invalid reference format"
UPPER_CASE = "invalid reference format: repository name must be lowercase"
TOO_LONG = f"repository name must not be more than {NAME_MAX} characters"


class Reference:
    """A normalised image reference.

    Attributes: domain ("docker.io"), path ("library/alpine"), tag ("" when none was given), digest ("" likewise).
    """

    __slots__ = ("domain", "path", "tag", "digest")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """The repository's full name: "docker.io/library/alpine"."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository's familiar name: "alpine", "me/tool", "host:5000/a"."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path[len(OFFICIAL) :]
        return rest if self.path.startswith(OFFICIAL) and "/" not in rest else self.path

    @property
    def full(self) -> str:
        """The full form, which is stored: "docker.io/library/alpine:latest"."""
        return self.name + self._suffix()

    @property
    def familiar(self) -> str:
        """The familiar form, which is displayed: "alpine:latest"."""
        return self.familiar_name + self._suffix()

    def with_tag(self) -> Reference:
        """The same with Docker's default tag, "latest", when there is neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.full

    def __repr__(self) -> str:
        return f"Reference({self.full!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.full == other.full

    def __hash__(self) -> int:
        return hash(self.full)


def parse(word: str) -> Reference:
    """Parse and normalize a reference; no default tag is added (see `Reference.with_tag`).

    Arguments: word (str), "alpine", "host:5000/a/b:tag", "alpine@sha256:...".
    Errors: ClientError with Docker's message (distribution/reference, ParseNormalizedNamed).
    """
    if is_id(word):
        raise ClientError(f"invalid repository name ({word}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(word)
    if rest.partition(":")[0] != rest.partition(":")[0].lower():
        raise ClientError(UPPER_CASE)
    rest, at, digest = rest.partition("@")
    path, colon, tag = rest.partition(":")
    if not _is_domain(domain) or not all(map(_is_component, path.split("/"))):
        raise ClientError(INVALID)
    if (colon and not is_tag(tag)) or (at and not _looks_like_digest(digest)):
        raise ClientError(INVALID)
    if len(domain) + 1 + len(path) > NAME_MAX:
        raise ClientError(TOO_LONG)
    if digest:
        check_digest(digest)
    return Reference(domain, path, tag, digest)


def parse_for_pull(word: str) -> Reference:
    """The reference of an image to pull: a digest has precedence over a tag, as in Docker; errors as for `parse`."""
    name = parse(word)
    return Reference(name.domain, name.path, "", name.digest) if name.digest else name.with_tag()


def familiar(full: str) -> str:
    """The familiar form of a full name (`Reference.full`): `parse(full).familiar`, but faster."""
    rest = full.removeprefix(f"{DEFAULT_DOMAIN}/")
    short = rest.removeprefix(OFFICIAL)
    return rest if rest is full or "/" in short else short


def is_id(word: str) -> bool:
    """Whether this is a complete image id without "sha256:": 64 lower-case hexadecimal digits."""
    return stringid.is_id(word)


def is_id_prefix(word: str) -> bool:
    """Whether this may be a prefix of an image id, with or without "sha256:"."""
    return bool(word) and stringid.is_hex(word.removeprefix("sha256:"))


def check_digest(digest: str) -> None:
    """Refuse an invalid digest. Errors: ClientError with the message of opencontainers/go-digest."""
    algorithm, _, value = digest.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise ClientError("unsupported digest algorithm")
    if len(value) != _DIGEST_LENGTHS[algorithm]:
        raise ClientError("invalid checksum digest length")
    if not stringid.is_hex(value):
        raise ClientError("invalid checksum digest format")


def _split_domain(word: str) -> tuple[str, str]:
    """Docker's rule: the first part is a host if it has a dot or a colon or is "localhost"; else it is Docker Hub's."""
    first, slash, rest = word.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain = DEFAULT_DOMAIN if first == LEGACY_DOMAIN else first
    else:
        domain, rest = DEFAULT_DOMAIN, word
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = OFFICIAL + rest
    return domain, rest


def _is_domain(domain: str) -> bool:
    """A host name or [IPv6 address], with or without a port."""
    if domain.startswith("["):
        host, bracket, port = domain[1:].partition("]")
        if not host or not bracket or not stringid.is_hex(host.lower().replace(":", "")):
            return False
        return not port or (port[0] == ":" and _is_number(port[1:]))
    host, colon, port = domain.partition(":")
    if colon and not _is_number(port):
        return False
    return all(
        part and _ALNUM.issuperset(part.replace("-", "")) and part[0] != "-" and part[-1] != "-"
        for part in host.split(".")
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_component(text: str) -> bool:
    """Runs of a-z and 0-9, joined by one of: ".", "_", "__", or any number of "-"."""
    if not text or text[0] not in _LOWER_ALNUM or text[-1] not in _LOWER_ALNUM:
        return False
    joint = ""
    for letter in text:
        if letter not in _LOWER_ALNUM:
            joint += letter
        elif joint:
            if joint not in (".", "_", "__") and joint.strip("-"):
                return False
            joint = ""
    return True


def is_tag(tag: str) -> bool:
    """Whether this is a valid tag."""
    return 0 < len(tag) <= TAG_MAX and tag[0] not in ".-" and _TAG.issuperset(tag)


def _looks_like_digest(digest: str) -> bool:
    """Whether the reference grammar accepts it; `check_digest` is stricter and has other messages."""
    algorithm, _, value = digest.partition(":")
    if len(value) < 32 or not stringid.is_hex(value.lower()):
        return False
    for joint in "-_+.":
        algorithm = algorithm.replace(joint, " ")
    return all(part and part[0].isalpha() and _ALNUM.issuperset(part) for part in algorithm.split(" "))
