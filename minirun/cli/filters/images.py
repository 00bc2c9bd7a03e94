"""What `images` and `image prune` add to the filters of all lists (moby, daemon/images/images.go)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from minirun import timestamps
from minirun.cli.filters.filter import Factory, Test, labels, matcher, moment, no_labels
from minirun.errors import ClientError, EngineError
from minirun.image.images import Image, Images

_labels: Factory[Image] = labels(lambda image: image.defaults.get("Labels"))


def images(store: Images, conditions: Sequence[tuple[str, str]]) -> list[Image]:
    """The images for which all conditions hold, the newest first.

    Errors: EngineError for an unknown name or value, and for an image to compare with that is not there.
    """
    factories: dict[str, Factory[Image]] = {
        "dangling": _dangling,
        "label": _labels,
        "reference": _reference,
        "before": lambda values: _compared(store, values[-1], lambda created, limit: created < limit),
        "since": lambda values: _compared(store, values[-1], lambda created, limit: created > limit),
    }
    test = matcher(conditions, factories)
    return [image for image in store.every() if test(image)]


def pruned(conditions: Sequence[tuple[str, str]], everything: bool) -> tuple[bool, Test[Image]]:
    """Whether `image prune` takes images with a tag too, and a test for images.

    Arguments: everything (bool), -a. Errors: EngineError for an unknown name or value.
    """
    everything = everything or any(name == "dangling" and value in ("false", "0") for name, value in conditions)
    factories: dict[str, Factory[Image]] = {
        "dangling": lambda _values: lambda _image: True,
        "label": _labels,
        "label!": no_labels(lambda image: image.defaults.get("Labels")),
        "until": _until,
    }
    return everything, matcher(conditions, factories)


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


def _dangling(values: list[str]) -> Test[Image]:
    if "true" not in values and "false" not in values:
        raise EngineError(f"Invalid filter 'dangling=[{' '.join(values)}]'", exit_code=1)
    if "true" in values:  # also what has no name but a digest
        return lambda image: all("@" in name for name in image.names)
    return lambda image: bool(image.names)


def _reference(values: list[str]) -> Test[Image]:
    fits = named_like(values)
    return lambda image: any(map(fits, image.names))


def _compared(store: Images, word: str, fits: Callable[[int, int], bool]) -> Test[Image]:
    try:
        limit = timestamps.parse(store.find(word).created)
    except ClientError as error:  # it is the daemon that reads this word
        raise EngineError(error.message) from None
    return lambda image: fits(timestamps.parse(image.created), limit)


def _until(values: list[str]) -> Test[Image]:
    limit = min(map(moment, values))
    return lambda image: timestamps.parse(image.created) <= limit
