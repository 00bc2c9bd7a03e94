"""The pure parts of pull and push: challenges, manifests, platforms, addresses, what failures are called."""

from __future__ import annotations

import base64
import io
import json

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import EngineError, MinirunError
from minirun.image import manifests, platforms
from minirun.image.registry import challenge, credentials, http, http_errors, tls, urls
from minirun.image.registry.auth import Credentials

OCI, LIST = manifests.oci.MANIFEST, manifests.INDEXES[1]
DIGEST = f"sha256:{'a' * 64}"


def descriptor(**words: object) -> dict:
    return {"mediaType": OCI, "digest": DIGEST, "size": 3, **words}


# ---- challenges ----


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://x/t?a=b",service="s, t",scope="repository:x:pull,push"',
            [("bearer", {"realm": "https://x/t?a=b", "service": "s, t", "scope": "repository:x:pull,push"})],
        ),
        (
            'Basic realm="a", Bearer realm="b", service=s',
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "service": "s"})],
        ),
        (r'Bearer realm="say \"no\" \\", error="x"', [("bearer", {"realm": 'say "no" \\', "error": "x"})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
        ("=,=", []),
        ('"Basic"', []),
        ('Bearer realm="never ends', [("bearer", {"realm": "never ends"})]),
        ("BEARER REALM=x,realm=y", [("bearer", {"realm": "x"})]),
    ],
)
def test_challenges(header, expected):
    assert [(one.scheme, one.parameters) for one in challenge.parse(header)] == expected


@given(st.text(alphabet='ab=",\\ \t', max_size=40))
def test_any_header_can_be_read(header):
    for one in challenge.parse(header):
        assert one.scheme and not set(one.scheme) & set(' \t,="')


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), st.text(max_size=20), min_size=1))
def test_what_is_quoted_comes_back(parameters):
    words = []
    for name, value in parameters.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'{name}="{escaped}"')
    (one,) = challenge.parse("Bearer " + ", ".join(words))
    assert one.parameters == parameters


# ---- manifests ----


def manifest(**words: object) -> dict:
    return {"schemaVersion": 2, "mediaType": OCI, "config": descriptor(), "layers": [descriptor()], **words}


def test_a_manifest():
    document = manifest()
    assert manifests.read(json.dumps(document).encode(), OCI) == (document, OCI)
    del document["mediaType"]  # the OCI lets it out
    assert manifests.read(json.dumps(document).encode(), f"{OCI}; charset=utf-8")[1] == OCI


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (manifest(), LIST),
        (manifest(), manifests.oci.MANIFESTS[1]),
        (manifest(manifests=[]), OCI),
        (manifest(mediaType=LIST), LIST),
        (manifest(layers={}), OCI),
        (manifest(layers=[3]), OCI),
        (manifest(layers=[descriptor(digest="sha256:../../etc")]), OCI),
        (manifest(layers=[descriptor(size=-1)]), OCI),
        (manifest(layers=[descriptor(size=True)]), OCI),
        (manifest(layers=[descriptor(digest="md5:" + "a" * 32)]), OCI),
        (manifest(layers=[descriptor(digest="sha512:" + "a" * 128)]), OCI),
        (manifest(config=None), OCI),
        (manifest(schemaVersion=1), OCI),
        (manifest(mediaType="text/plain"), "text/plain"),
        (manifest(mediaType=3), OCI),
        ({"schemaVersion": 2, "mediaType": LIST, "manifests": [], "layers": []}, LIST),
        ({"schemaVersion": 2, "mediaType": LIST, "manifests": [descriptor(platform=3)]}, LIST),
        ([], OCI),
        (3, OCI),
    ],
)
def test_what_is_no_manifest(document, kind):
    with pytest.raises(EngineError):
        manifests.read(json.dumps(document).encode(), kind)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_in_one_way(data):
    with pytest.raises(EngineError):
        manifests.read(data, OCI)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DIGEST),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["digest", "size", "platform", "mediaType", "os"]), inner, max_size=4)
        ),
    ),
    st.sampled_from(["config", "layers", "manifests", "mediaType", "schemaVersion"]),
)
def test_any_document_is_read_or_refused(value, key):
    for document in (manifest(), {"schemaVersion": 2, "mediaType": LIST, "manifests": [descriptor()]}):
        document[key] = value
        try:
            read, kind = manifests.read(json.dumps(document).encode(), "")
            if kind in manifests.INDEXES:
                manifests.choose(read, platforms.parse("linux/s390x"), "x")
        except EngineError:
            pass


def test_a_document_that_is_too_deep():
    with pytest.raises(EngineError):
        manifests.read(b'{"a":' * 100_000, OCI)


# ---- platforms ----


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm64/v8", "linux/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms(word, shown):
    assert str(platforms.parse(word)) == shown


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("bogus", '"bogus": unknown operating system or architecture: invalid argument'),
        ("linux/bogus/x/y", '"linux/bogus/x/y": cannot parse platform specifier: invalid argument'),
    ],
)
def test_what_is_no_platform(word, text):
    with pytest.raises(EngineError) as caught:
        platforms.parse(word)
    assert str(caught.value) == text


def test_the_first_that_fits_is_chosen():
    index = {
        "manifests": [
            descriptor(size=size, platform={"os": "linux", **words})
            for size, words in enumerate(
                [
                    {"architecture": "unknown", "os": "unknown"},
                    {"architecture": "arm", "variant": "v6"},
                    {"architecture": "arm", "variant": "v7"},
                    {"architecture": "arm64", "variant": "v8"},
                ]
            )
        ]
    }
    for word, size in (
        ("linux/arm", 2),
        ("linux/arm/v7", 2),
        ("linux/arm/v6", 1),
        ("linux/arm/v8", 2),
        ("linux/arm/v5", 1),
    ):
        assert manifests.choose(index, platforms.parse(word), "x")["size"] == size
    assert manifests.choose(index, platforms.parse("arm64"), "x")["size"] == 3
    with pytest.raises(EngineError, match="^no matching manifest for linux/386 in the manifest list") as caught:
        manifests.choose(index, platforms.parse("linux/386"), "x")
    assert caught.value.hint == "x is there for linux/arm/v6, linux/arm/v7, linux/arm64/v8"


def test_an_index_within_an_index_is_looked_into_when_nothing_else_fits():
    inner = {"mediaType": LIST, "digest": DIGEST, "size": 7}
    arm = descriptor(platform={"os": "linux", "architecture": "arm64"})
    index = {"manifests": [inner, arm]}
    assert manifests.choose(index, platforms.parse("arm64"), "x") is arm
    assert manifests.choose(index, platforms.parse("amd64"), "x") is inner


@pytest.mark.parametrize(
    ("has", "wanted", "text"),
    [
        (
            {"os": "linux", "architecture": "arm64", "variant": "v8"},
            "",
            "WARNING: The requested image's platform "
            "(linux/arm64) does not match the detected host platform (linux/amd64) and no specific platform was requested\n",
        ),
        ({"os": "linux", "architecture": "amd64"}, "", ""),
        ({"os": "linux", "architecture": "amd64"}, "amd64", ""),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, "linux/arm", ""),
    ],
)
def test_what_there_is_to_say_about_an_image(has, wanted, text, monkeypatch):
    monkeypatch.setattr(platforms, "parse", lambda word="", parse=platforms.parse: parse(word or "linux/amd64"))
    assert platforms.check(has, wanted, "x") == text


# ---- addresses and failures ----


@pytest.mark.parametrize(
    ("host", "insecure", "answer"),
    [
        ("127.0.0.1:5000", [], True),
        ("localhost", [], True),
        ("[::1]:5000", [], True),
        ("127.9.9.9", [], True),
        ("example.org:5000", [], False),
        ("example.org:5000", ["example.org:5000"], True),
        ("example.org:5000", ["example.org"], True),
        ("10.1.2.3:5000", ["10.0.0.0/8"], True),
        ("11.1.2.3:5000", ["10.0.0.0/8"], False),
        ("localhost.example.org", [], False),
    ],
)
def test_who_may_be_spoken_to_in_plain_text(host, insecure, answer):
    assert tls.is_insecure(host, insecure) is answer


@pytest.mark.parametrize(
    ("url", "before"),
    [
        ("file:///etc/passwd", "https://a/"),
        ("http://a/", "https://a/"),
        ("https:///x", "https://a/"),
        ("ftp://a/", "http://a/"),
        ("https://[", "https://a/"),
        ("", "https://a/"),
    ],
)
def test_where_nobody_is_sent(url, before):
    with pytest.raises(EngineError, match="refusing to go on"):
        urls.check_url(url, before)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:5000/v2/", ""),
        ("http://localhost/", ""),
        ("http://[::1]:5000/", ""),
        ("http://a.example.org:5000/", ""),
        ("http://10.1.2.3/", ""),
        ("https://11.1.2.3:5000/", "http://u:p@proxy:3128"),
        ("http://example.com/", "http://proxy:3128"),
        ("https://example.com/", "http://u:p@proxy:3128"),
        ("https://near.lan:5000/", ""),
        ("https://near.lan/", "http://u:p@proxy:3128"),
    ],
)
def test_who_is_asked_through_a_proxy(monkeypatch, url, found):
    for name, value in (
        ("HTTP_PROXY", "proxy:3128"),
        ("https_proxy", "http://u:p@proxy:3128"),
        ("NO_PROXY", ".example.org, 10.0.0.0/8,near.lan:5000"),
    ):
        monkeypatch.setenv(name, value)
    assert urls.proxy_for(url) == found


@pytest.mark.parametrize(
    ("word", "least", "most"),
    [
        ("7", 7, 7),
        ("", 0, 0),
        ("soon", 0, 0),
        ("-3", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2065 07:28:00 GMT", 1e8, 1e10),
    ],
)
def test_when_to_come_again(word, least, most):
    assert least <= http.seconds(word) <= most


def test_failures_have_gos_words():
    def text(reason: Exception) -> str:
        return http_errors.unreachable("GET", "https://x.example/v2/", reason).message.partition(": ")[2]

    refused = urllib3.exceptions.ProtocolError("Connection broken", ConnectionResetError(104, "reset"))
    assert text(refused) == "dial tcp x.example:443: connect: connection reset by peer"
    assert text(urllib3.exceptions.ReadTimeoutError(None, "", "")) == "read tcp x.example:443: i/o timeout"  # type: ignore[arg-type]
    assert (
        text(urllib3.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"))
        == "x509: certificate signed by unknown authority"
    )
    assert (
        text(
            urllib3.exceptions.SSLError(
                "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)"
            )
        )
        == "remote error: tls: certificate required"
    )
    assert (
        text(
            urllib3.exceptions.ProxyError(
                "Unable to connect to proxy", OSError("Tunnel connection failed: 407 Proxy Authentication Required")
            )
        )
        == "Proxy Authentication Required"
    )


def test_a_request_is_told_without_what_is_secret():
    assert (
        http.as_curl("GET", "http://h/v2/?a=b", {"Authorization": "Bearer abc", "Range": "bytes=3-"})
        == """curl -s -H "Authorization: Bearer $TOKEN" -H 'Range: bytes=3-' 'http://h/v2/?a=b'"""
    )
    assert (
        http.as_curl("PUT", "http://h/x", {"Content-Length": "3"}, has_body=True)
        == "curl -s -X PUT --data-binary @- http://h/x"
    )


def answered(status: int, **headers: str) -> urllib3.HTTPResponse:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.HTTPResponse(io.BytesIO(), told, status, preload_content=False)


def passing() -> urllib3.HTTPResponse:
    raise http_errors.Unreachable("EOF", transient=True)


def lasting() -> urllib3.HTTPResponse:
    raise http_errors.Unreachable("no such host", transient=False)


@pytest.mark.parametrize(
    ("answers", "pauses", "status"),
    [
        ([answered(200)], [], 200),
        ([answered(404), None], [], 404),
        ([answered(401), None], [], 401),
        ([answered(503), answered(200)], [0.25], 200),
        ([answered(500), passing, answered(200)], [0.25, 0.5], 200),
        ([answered(429, Retry_After="7"), answered(429), answered(200)], [7, 14], 200),
        ([answered(429, Retry_After="3600"), None], [], 429),
        ([answered(502)] * 5, [0.25, 0.5, 1, 2], 502),
    ],
)
def test_what_fails_for_a_moment_is_tried_again(answers, pauses, status):
    made, waited = iter(answers), []
    again = http.HTTPClient([], pause=waited.append)

    def act():
        answer = next(made)
        return answer() if callable(answer) else answer

    assert (again.retry(act).status, waited) == (status, pauses)


@pytest.mark.parametrize(("act", "pauses"), [(passing, [0.25, 0.5, 1, 2]), (lasting, [])])
def test_nobody_asks_for_ever(act, pauses):
    waited = []
    with pytest.raises(http_errors.Unreachable):
        http.HTTPClient([], pause=waited.append).retry(act)
    assert waited == pauses


# ---- credentials ----


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def known(domain: str) -> tuple[str, str, str]:
    found = credentials.load(domain)
    return found.user, found.password, found.identity_token


def test_what_is_kept_is_found_and_forgotten(home):
    assert known("h:5000") == ("", "", "")
    (home / "docker").mkdir()
    (home / "docker/config.json").write_text('{"psFormat": "x"}')
    assert credentials.save("h:5000", Credentials("me", "pa:ss")) == str(home / "docker/config.json")
    credentials.save("docker.io", Credentials("hub", "x"))
    document = json.loads((home / "docker/config.json").read_text())
    assert document == {
        "psFormat": "x",
        "auths": {
            "h:5000": {"auth": base64.b64encode(b"me:pa:ss").decode()},
            "https://index.docker.io/v1/": {"auth": "aHViOng="},
        },
    }
    assert (home / "docker/config.json").stat().st_mode & 0o777 == 0o600
    assert (known("h:5000"), known("docker.io"), known("h")) == (("me", "pa:ss", ""), ("hub", "x", ""), ("", "", ""))
    credentials.erase("h:5000")
    assert known("h:5000") == ("", "", "")


def test_other_files_and_forms(home):
    (home / "auth.json").write_text(
        json.dumps(
            {
                "auths": {
                    "a.example": {"auth": base64.b64encode(b"u:p").decode()},
                    "https://b.example/v1/": {"identitytoken": "tok"},
                    "c.example": {"auth": "!!!"},
                    "d.example": 3,
                }
            }
        )
    )
    assert known("a.example") == ("u", "p", "")
    assert known("b.example") == ("", "", "tok")
    assert known("c.example") == known("d.example") == ("", "", "")


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("x", "all"),
        ("team/x", "team"),
        ("team", "team"),
        ("team/sub/x", "sub"),
        ("teams/x", "all"),
        ("", "all"),
    ],
)
def test_a_key_may_go_on_after_the_host(home, path, user):
    (home / "auth.json").write_text(
        json.dumps(
            {
                "auths": {
                    name: {"auth": base64.b64encode(f"{who}:p".encode()).decode()}
                    for name, who in (("h:5000/team", "team"), ("h:5000", "all"), ("h:5000/team/sub", "sub"))
                }
            }
        )
    )
    assert credentials.load("h:5000", path).user == user


def test_a_helper_is_asked(home):
    (home / "docker").mkdir()
    (home / "docker/config.json").write_text('{"credHelpers": {"a.example": "mine"}, "credsStore": "other"}')
    for name, script in (
        (
            "mine",
            f"""read host; echo "$1 $host" >> {home}/asked
                                      echo '{{"Username": "u", "Secret": "s"}}'""",
        ),
        ("other", "echo credentials not found in native keychain; exit 1"),
    ):
        (home / f"docker-credential-{name}").write_text(f"#!/bin/sh\n{script}\n")
        (home / f"docker-credential-{name}").chmod(0o755)
    assert known("a.example") == ("u", "s", "")
    assert (home / "asked").read_text() == "get a.example\n"
    assert known("b.example") == ("", "", "")
    assert credentials.save("a.example", Credentials("u", "new")) == ""
    assert "new" not in (home / "docker/config.json").read_text()


@pytest.mark.parametrize("text", ["{", "[]", '{"credsStore": "../x"}'])
def test_a_file_that_makes_no_sense(home, text):
    (home / "docker").mkdir()
    (home / "docker/config.json").write_text(text)
    with pytest.raises(MinirunError):
        credentials.load("a.example")


# ---- answers without end ---------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A body that goes on for ever."""

    taken = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.taken += len(buffer)
        assert self.taken < 10 * http.MAX_DRAIN
        return len(buffer)


def test_a_body_that_nobody_wants_is_not_read_to_its_end():
    body = Endless()
    answer = urllib3.HTTPResponse(body, preload_content=False)
    http.release(answer)
    assert body.closed


@pytest.mark.parametrize(
    "location",
    [
        "//[",
        "http://[::1",
        "https://a:99999999/",
        "https://a:x/",
        "ftp://a/x",
        "http://plain.example/",
        "https://a/\x1b[2J",
    ],
)
def test_where_a_registry_sends_nobody(location):
    with pytest.raises(EngineError, match="refusing to go on to ") as caught:
        urls.resolve_location("https://registry.example/v2/", location)
    assert str(caught.value).isprintable()
