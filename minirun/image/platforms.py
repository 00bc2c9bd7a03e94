"""Platforms: "linux/amd64", "linux/arm/v7"; and which image of a multi-platform index a machine uses.

The rules are those of github.com/containerd/platforms in Docker 20.10. ARM machines run several variants, best first:

    arm/v7    arm/v7, arm/v6, arm/v5, and if there is none of them any other arm; "arm" alone means v7
    arm64     with or without "v8", for long the only variant
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage

#: Machine names, of uname(2) and in common use → the architecture in the OCI (Go's GOARCH).
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
    """The image is here, but for another platform than the requested one."""

    def __init__(self, message: str) -> None:
        EngineError.__init__(self, message)


class Platform:
    """One platform, normalized: `.os`, `.architecture`, `.variant` (str; "" for the only or default one)."""

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
        """How well the platform of an index entry or image config fits: 0 is best, None does not fit."""
        other = of(document)
        if other == self:
            return 0
        if (other.os, other.architecture, "arm") != (self.os, "arm", self.architecture):
            return None
        lower = _ARM[_ARM.index(self.variant) + 1 :] if self.variant in _ARM else ()
        return lower.index(other.variant) + 1 if other.variant in lower else len(_ARM)

    def fits(self, document: dict) -> bool:
        """Whether an image for the platform of an index entry or image config can be used."""
        return self.rank(document) is not None


def of(document: dict) -> Platform:
    """The platform of a descriptor in an index, or of an image config (OCI image-spec, image-index.md)."""
    return Platform(*(str(document.get(key) or "") for key in ("os", "architecture", "variant")))


def parse(word: str = "") -> Platform:
    """Parse a platform, "linux/arm64/v8" or "arm64"; "" is this machine's.

    Errors: EngineError with the message of containerd/platforms.
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
    """Check that an image which is here may be used.

    Arguments: config, the image's; wanted (str), the requested platform, "" for none; name (str), of the image, as in
    the request. Returns: Docker's warning, or "". Errors: PlatformMismatch.
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
