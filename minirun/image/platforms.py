"""What an image runs on: "linux/amd64", "linux/arm/v7"; which image a machine takes when it has the choice.

An ARM machine runs more than its own kind. What is best is the rule of github.com/containerd/platforms, as Docker
20.10 has it:

    arm/v7    arm/v7, arm/v6, arm/v5, and if there is none of them any other arm; "arm" alone means v7
    arm64     "v8" is said or not, for it is the only one there was for long
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage

#: The OCI's (Go's) names of what uname(2), and people, call a machine.
ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "armhf": "arm",
    "armel": "arm",
    "i686": "386",
    "i386": "386",
}
_VARIANTS = {"armel": "v6", "armv6l": "v6"}
_SYSTEMS = frozenset("linux windows darwin freebsd netbsd openbsd".split())
_KNOWN = frozenset("386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x".split())
_ARM = ("v8", "v7", "v6", "v5")


class PlatformMismatch(NoSuchImage):
    """The image is here, but for another platform than the one that is wanted."""

    def __init__(self, message: str) -> None:
        EngineError.__init__(self, message)


class Platform:
    """One platform: `.os`, `.architecture`, `.variant` (str; "" where there is but one)."""

    def __init__(self, system: str, architecture: str, variant: str = "") -> None:
        self.os = system.lower()
        name = architecture.lower()
        self.architecture = ARCHITECTURES.get(name, name)
        self.variant = variant.lower() or _VARIANTS.get(name, "")
        if self.architecture == "arm":
            self.variant = self.variant if self.variant.startswith("v") else f"v{self.variant or 7}"
        elif (self.architecture, self.variant) in (("arm64", "v8"), ("arm64", "8")):
            self.variant = ""

    def __str__(self) -> str:
        return "/".join(word for word in (self.os, self.architecture, self.variant) if word)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def rank(self, document: dict) -> int | None:
        """How well a platform fits that an index, or an image's config, speaks of: 0 is best, None is not at all."""
        other = of(document)
        if other == self:
            return 0
        if (other.os, other.architecture, "arm") != (self.os, "arm", self.architecture):
            return None
        lower = _ARM[_ARM.index(self.variant) + 1 :] if self.variant in _ARM else ()
        return lower.index(other.variant) + 1 if other.variant in lower else len(_ARM)

    def fits(self, document: dict) -> bool:
        """Whether this is one to take at all."""
        return self.rank(document) is not None


def of(document: dict) -> Platform:
    """The platform that an index's descriptor, or an image's config, speaks of (OCI image-spec, image-index.md)."""
    return Platform(*(str(document.get(key) or "") for key in ("os", "architecture", "variant")))


def parse(word: str = "") -> Platform:
    """The platform that a word stands for, "linux/arm64/v8" or "arm64"; without a word, this machine's.

    Errors: EngineError in the words of containerd/platforms.
    """
    machine = os.uname().machine
    if not word:
        return Platform("linux", machine)
    parts = word.lower().split("/")
    if len(parts) > 3 or not all(parts):
        raise EngineError(f'"{word}": cannot parse platform specifier: invalid argument')
    if len(parts) > 1:
        return Platform(*parts)
    if parts[0] in _SYSTEMS:
        return Platform(parts[0], machine)
    if ARCHITECTURES.get(parts[0], parts[0]) not in _KNOWN:
        raise EngineError(f'"{word}": unknown operating system or architecture: invalid argument')
    return Platform("linux", parts[0])


def check(config: dict, wanted: str, name: str) -> str:
    """Whether an image that is here may be used.

    Arguments: config, its config; wanted (str), the platform that was asked for, "" for none; name (str), of the image
    as it was asked for. Returns: a line about it, or "". Errors: PlatformMismatch.
    """
    has, here = of(config), parse()
    if wanted and not parse(wanted).fits(config):
        raise PlatformMismatch(
            f"image with reference {name} was found but does not match the specified platform: wanted "
            f"{parse(wanted)}, actual: {has}"
        )
    if wanted or here.fits(config):
        return ""
    return (
        f"WARNING: The requested image's platform ({has}) does not match the detected host platform ({here}) and "
        "no specific platform was requested\n"
    )
