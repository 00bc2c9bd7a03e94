"""Responses of a registry: bodies of limited size, and errors.

An error is JSON (OCI distribution-spec, "Error Codes"), and is turned into the message of Docker's client:

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

#: The most bytes of a response that is neither a manifest nor a blob.
MAX_BODY = 1024 * 1024
#: The errors of a token (RFC 6750) as the codes and messages of distribution-spec.
TOKEN_ERRORS = {
    "invalid_token": ("UNAUTHORIZED", "authentication required"),
    "insufficient_scope": ("DENIED", "requested access to the resource is denied"),
}


class RegistryError(EngineError):
    """An error response of a registry or of a token server.

    Arguments and attributes: reason (str); status (int), of the HTTP response; code (str), the registry's error code;
    hint; at (str), the request, if it is part of the message: 'Get "https://..."'.
    """

    def __init__(self, reason: str, status: int = 401, code: str = "", hint: str = "", at: str = "") -> None:
        super().__init__(f"{at}: {reason}" if at else reason, hint=hint)
        self.reason, self.status, self.code, self.at = reason, status, code, at


def read_body(response: urllib3.BaseHTTPResponse, url: str, most: int = MAX_BODY) -> bytes:
    """Read the body of a response. Arguments: url (str), of the request, for messages; most (int), bytes.

    Errors: EngineError when it is larger than `most`; Unreachable when the connection breaks.
    """
    data = b""
    try:
        while len(data) <= most and (part := response.read(most + 1 - len(data))):
            data += part
        if len(data) > most:
            response.close()
            raise EngineError(f"the registry's answer is larger than {most} bytes")
        return data
    except HTTPError as reason:
        raise unreachable("GET", url, reason) from None
    finally:
        response.release_conn()


def error_from(response: urllib3.BaseHTTPResponse, data: bytes, at: str = "") -> RegistryError:
    """The error of a response. Arguments: data, its body; at (str), as for `RegistryError`."""
    code, message = _token_error(response)
    hint = ""
    try:
        document: Any = jsoncodec.loads(data.decode())
        first = (document.get("errors") or [{}])[0]
        if not code:
            code, message = str(first.get("code", "")), str(first.get("message", ""))
            message = message or str(document.get("details") or document.get("error") or "")
    except (ValueError, AttributeError, TypeError, IndexError, RecursionError):
        pass  # not JSON: the message is made from the status
    status = response.status
    if status == 429:
        code, message = code or "TOOMANYREQUESTS", message or "Rate exceeded"
        wait = seconds(response.headers.get("Retry-After") or response.headers.get("RateLimit-Reset") or "")
        hint = f"the registry takes requests again in {int(wait)} seconds" if wait else ""
    if not code and status == 401:
        code, message = "UNAUTHORIZED", "authentication required"
    if not code:
        return RegistryError(
            f"received unexpected HTTP status: {status} {_one_line(response.reason or '')}".rstrip(), status, at=at
        )
    text = f"{_one_line(code.lower().replace('_', ' '))}: {_one_line(message)}"
    return RegistryError(text, status, code, hint, at)


def _token_error(response: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    """The code and message of an error about our token (RFC 6750, section 3.1); ("", "") for other errors."""
    for one in challenge.parse(", ".join(response.headers.getlist("WWW-Authenticate"))):
        if one.parameters.get("error") in TOKEN_ERRORS:
            code, message = TOKEN_ERRORS[one.parameters["error"]]
            return code, one.parameters.get("error_description") or message
    return "", ""


def string_list(data: bytes, key: str) -> list[str]:
    """The list of strings under a key of a JSON object. Errors: EngineError for anything else."""
    try:
        document: Any = jsoncodec.loads(data.decode())
        words = document.get(key) or []
    except (ValueError, AttributeError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise EngineError(f"the registry's answer has no list of {key}")
    return words


def header_number(word: str | None) -> int:
    """The value of a header as a number; 0 when it is missing or not a number."""
    return int(word[:15]) if word and word.isascii() and word.isdigit() else 0


def next_page(response: urllib3.BaseHTTPResponse) -> str:
    """The URL of the next page of a list (RFC 8288): `Link: </v2/x/tags/list?last=b>; rel="next"`; "" on the last."""
    for link in (response.headers.get("Link") or "").split(","):
        target, _, words = link.strip().partition(">")
        if target.startswith("<") and 'rel="next"' in words.replace("'", '"').replace("rel=next", 'rel="next"'):
            return target[1:]
    return ""


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:500]
