"""What a registry answers: a body, of a size that was agreed on, or a refusal.

A refusal is JSON (OCI distribution-spec, "Error Codes"), and what becomes of it are the words of Docker's client:

    {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}     manifest unknown: manifest unknown
"""

from __future__ import annotations

from urllib3.exceptions import HTTPError

from minirun import jsoncodec
from minirun.errors import EngineError
from minirun.image.registry import challenge
from minirun.image.registry.http import seconds
from minirun.image.registry.http_errors import unreachable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    import urllib3

#: The most bytes of an answer that is no manifest and no blob.
WORDS_MAX = 1024 * 1024
#: What a registry may have against a token, in the words that the distribution specification has for it.
TOKEN_ERRORS = {
    "invalid_token": ("UNAUTHORIZED", "authentication required"),
    "insufficient_scope": ("DENIED", "requested access to the resource is denied"),
}


class Denied(EngineError):
    """A registry does not let us in, or has no such thing for us.

    Arguments and attributes: reason (str); status (int); code (str), the registry's; hint; at (str), what we asked for
    when we were refused, if that is part of the message: 'Get "https://..."'.
    """

    def __init__(self, reason: str, status: int = 401, code: str = "", hint: str = "", at: str = "") -> None:
        super().__init__(f"{at}: {reason}" if at else reason, hint=hint)
        self.reason, self.status, self.code, self.at = reason, status, code, at


def read(answer: urllib3.BaseHTTPResponse, url: str, most: int = WORDS_MAX) -> bytes:
    """The body of an answer, at most so many bytes. Arguments: url (str), what was asked for.

    Errors: EngineError for a larger one; Unreachable when it breaks off.
    """
    data = b""
    try:
        while len(data) <= most and (part := answer.read(most + 1 - len(data))):
            data += part
        if len(data) > most:
            answer.close()
            raise EngineError(f"the registry's answer is larger than {most} bytes")
        return data
    except HTTPError as reason:
        raise unreachable("GET", url, reason) from None
    finally:
        answer.release_conn()


def refusal(answer: urllib3.BaseHTTPResponse, data: bytes, at: str = "") -> Denied:
    """What a registry has to say against it. Arguments: data, the body of its answer; at (str), see `Denied`."""
    code, message = _of_the_token(answer)
    hint = ""
    try:
        document: Any = jsoncodec.loads(data.decode())
        first = (document.get("errors") or [{}])[0]
        if not code:
            code, message = str(first.get("code", "")), str(first.get("message", ""))
            message = message or str(document.get("details") or document.get("error") or "")
    except (ValueError, AttributeError, TypeError, IndexError, RecursionError):
        pass  # no JSON: the status has to do
    status = answer.status
    if status == 429:
        code, message = code or "TOOMANYREQUESTS", message or "Rate exceeded"
        wait = seconds(answer.headers.get("Retry-After") or answer.headers.get("RateLimit-Reset") or "")
        hint = f"the registry takes requests again in {int(wait)} seconds" if wait else ""
    if not code and status == 401:
        code, message = "UNAUTHORIZED", "authentication required"
    if not code:
        return Denied(
            f"received unexpected HTTP status: {status} {_one_line(answer.reason or '')}".rstrip(), status, at=at
        )
    text = f"{_one_line(code.lower().replace('_', ' '))}: {_one_line(message)}"
    return Denied(text, status, code, hint, at)


def _of_the_token(answer: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    """What is wrong with our token, as code and message (RFC 6750, section 3.1); two times "" if it is not that."""
    for one in challenge.parse(", ".join(answer.headers.getlist("WWW-Authenticate"))):
        if one.parameters.get("error") in TOKEN_ERRORS:
            code, message = TOKEN_ERRORS[one.parameters["error"]]
            return code, one.parameters.get("error_description") or message
    return "", ""


def strings(data: bytes, key: str) -> list[str]:
    """The list of words under a key of a JSON object. Errors: EngineError for anything else."""
    try:
        document: Any = jsoncodec.loads(data.decode())
        words = document.get(key) or []
    except (ValueError, AttributeError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise EngineError(f"the registry's answer has no list of {key}")
    return words


def number(word: str | None) -> int:
    """The number in a header; 0 if there is none."""
    return int(word[:15]) if word and word.isascii() and word.isdigit() else 0


def next_page(answer: urllib3.BaseHTTPResponse) -> str:
    """Where a list goes on (RFC 8288): `Link: </v2/x/tags/list?last=b>; rel="next"`; "" at its end."""
    for link in (answer.headers.get("Link") or "").split(","):
        target, _, words = link.strip().partition(">")
        if target.startswith("<") and 'rel="next"' in words.replace("'", '"').replace("rel=next", 'rel="next"'):
            return target[1:]
    return ""


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:500]
