"""`images --filter` and `images NAME`: what may be asked for, and how Docker compares it (daemon/images/images.go)."""

from __future__ import annotations

import re

from minirun.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.images import Image, Images

    Test = Callable[[Image], bool]

NAMES = frozenset(("dangling", "label", "reference", "before", "since"))


def images(store: Images, conditions: Sequence[tuple[str, str]]) -> list[Image]:
    """The images for which all conditions hold, the newest first; of several references any may.

    Errors: EngineError for an unknown name or value; NoSuchImage for one to compare with.
    """
    wanted: dict[str, list[str]] = {}
    for name, value in conditions:
        if name not in NAMES:
            raise EngineError(f"Invalid filter '{name}'", exit_code=1)
        wanted.setdefault(name, []).append(value)
    tests = [_TESTS[name](store, values) for name, values in wanted.items()]
    return [image for image in store.every() if all(test(image) for test in tests)]


def named_like(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A test for familiar names, "alpine:3.20": whether one of the patterns fits it, or what stands before the tag.

    Errors: EngineError for a pattern that is none.
    """
    known = [_pattern(text) for text in patterns]

    def fits(name: str) -> bool:
        repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
        return any(one.fullmatch(name) or one.fullmatch(repository) for one in known)

    return fits


def _pattern(text: str) -> re.Pattern:
    """Go's path.Match: a star and a question mark stand for anything but a slash."""
    result, at = "", 0
    while at < len(text):
        letter = text[at]
        if letter == "[":
            end = text.find("]", at + 2)
            if end < 0:
                raise EngineError("syntax error in pattern")
            result += text[at : end + 1]
            at = end
        elif letter == "\\":
            at += 1
            result += re.escape(text[at : at + 1])
        else:
            result += {"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter)
        at += 1
    try:
        return re.compile(result, re.DOTALL)
    except re.error:
        raise EngineError("syntax error in pattern") from None


def _dangling(_: Images, values: list[str]) -> Test:
    if "true" not in values and "false" not in values:
        raise EngineError(f"Invalid filter 'dangling=[{' '.join(values)}]'", exit_code=1)
    if "true" in values:  # also what has no name but a digest
        return lambda image: all("@" in name for name in image.names)
    return lambda image: bool(image.names)


def _label(_: Images, values: list[str]) -> Test:
    def has(image: Image, value: str) -> bool:
        name, equals, text = value.partition("=")
        labels = image.defaults.get("Labels") or {}
        return name in labels and (not equals or labels[name] == text)

    return lambda image: all(has(image, value) for value in values)


def _reference(_: Images, values: list[str]) -> Test:
    fits = named_like(values)
    return lambda image: any(map(fits, image.names))


def _before(store: Images, values: list[str]) -> Test:
    moment = _made(_find(store, values[-1]))
    return lambda image: _made(image) < moment


def _since(store: Images, values: list[str]) -> Test:
    moment = _made(_find(store, values[-1]))
    return lambda image: _made(image) > moment


def _made(image: Image) -> int:
    from minirun.engine import timestamps

    return timestamps.read(image.created)


def _find(store: Images, word: str) -> Image:
    try:
        return store.find(word)
    except ClientError as error:  # it is the daemon that reads this word
        raise EngineError(error.message) from None


_TESTS = {"dangling": _dangling, "label": _label, "reference": _reference, "before": _before, "since": _since}
