"""Image references: what Docker takes, what it refuses and in which words."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import ClientError
from minirun.image import reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

# The grammar as github.com/distribution/reference writes it: the oracle for our loops.
NAME = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
HOST = rf"(?:{HOST_PART}(?:\.{HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
GRAMMAR = re.compile(
    rf"({HOST})/({NAME}(?:/{NAME})*)(?::([0-9A-Za-z_][0-9A-Za-z_.-]{{0,127}}))?"
    r"(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


@pytest.mark.parametrize(
    ("word", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine", "alpine"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("docker.io/library/alpine:latest", "docker.io/library/alpine:latest", "alpine:latest"),
        ("me/tool", "docker.io/me/tool", "me/tool"),
        ("a/b/c:d", "docker.io/a/b/c:d", "a/b/c:d"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x"),
        ("host:5000/a/b:t", "host:5000/a/b:t", "host:5000/a/b:t"),
        (f"host:5000/a/b@{DIGEST}", f"host:5000/a/b@{DIGEST}", f"host:5000/a/b@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker.io/library/alpine:3@{DIGEST}", f"alpine:3@{DIGEST}"),
        ("Example.COM/x", "Example.COM/x", "Example.COM/x"),
        ("quay.io/a.b/c_d/e__f/g---h", "quay.io/a.b/c_d/e__f/g---h", "quay.io/a.b/c_d/e__f/g---h"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("x:" + "A" * 128, "docker.io/library/x:" + "A" * 128, "x:" + "A" * 128),
        ("x:_a.-", "docker.io/library/x:_a.-", "x:_a.-"),
    ],
)
def test_a_word_becomes_a_full_and_a_familiar_name(word: str, full: str, familiar: str) -> None:
    parsed = reference.parse(word)
    assert (parsed.full, parsed.familiar, reference.familiar(full)) == (full, familiar, familiar)
    assert reference.parse(parsed.full) == parsed
    assert reference.parse(parsed.familiar) == parsed


@pytest.mark.parametrize(
    "word",
    [
        "",
        ":",
        "alpine:",
        "alpine@",
        "@" + DIGEST,
        "a:b:c",
        "-a",
        "a-",
        "a..b",
        "a._b",
        "a___b",
        "_a",
        "a/",
        "/a",
        "a//b",
        "x:" + "A" * 129,
        "x:.a",
        "x:-a",
        "x:a/b",
        "a b",
        " a",
        "a\n",
        "a:b\n",
        "é",
        "a:é",
        "host:/a",
        "host:x/a",
        "-h.x/a",
        "h-.x/a",
        "..x/a",
        "a.b./c",
        "a@sha256:abc",
        "a@sha256",
        "[::1/a",
        "[]:1/a",
        "[::1]x/a",
        "a:٣",
        "host:٣/a",
        "../../etc",
    ],
)
def test_what_is_no_reference_is_refused(word: str) -> None:
    with pytest.raises(ClientError) as caught:
        reference.parse(word)
    assert str(caught.value) == "invalid reference format"


@pytest.mark.parametrize("word", ["Alpine", "me/Tool", "Foo/bar", "localhost/X", "h.x/a/B:t", "UPPER:1"])
def test_upper_case_has_its_own_words(word: str) -> None:
    with pytest.raises(ClientError) as caught:
        reference.parse(word)
    assert str(caught.value) == "invalid reference format: repository name must be lowercase"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("f" * 64, f"invalid repository name ({'f' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "0" * 40, "invalid checksum digest length"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
    ],
)
def test_the_rarer_refusals(word: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        reference.parse(word)
    assert str(caught.value) == message


def test_the_default_tag_is_added_only_where_nothing_is_said() -> None:
    assert reference.parse("alpine").with_tag().familiar == "alpine:latest"
    assert reference.parse("alpine:3").with_tag().familiar == "alpine:3"
    assert reference.parse(f"alpine@{DIGEST}").with_tag().familiar == f"alpine@{DIGEST}"


def test_the_longest_name_counts_the_host() -> None:
    assert reference.parse("a" * (255 - len("docker.io/library/"))).familiar_name
    with pytest.raises(ClientError):
        reference.parse("a" * (256 - len("docker.io/library/")))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a", True),
        ("0123456789ab", True),
        ("sha256:ab", True),
        ("f" * 64, True),
        ("", False),
        ("xyz", False),
        ("AB", False),
    ],
)
def test_what_may_begin_an_id(word: str, expected: bool) -> None:
    assert reference.is_id_prefix(word) is expected


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../x", "sha256:" + "g" * 64, "../etc", DIGEST + "/", DIGEST + "0"]
)
def test_a_digest_that_could_be_a_path_is_refused(digest: str) -> None:
    with pytest.raises(ClientError):
        reference.check_digest(digest)


def expected_of(word: str) -> tuple[str, str, str, str] | None:
    """What the grammar makes of a word whose host is said: (host, path, tag, digest)."""
    found = GRAMMAR.fullmatch(word)
    return (found[1], found[2], found[3] or "", found[4] or "") if found else None


@given(st.text(alphabet=string.ascii_letters + "0129._-:/@[]", max_size=40))
def test_the_loops_agree_with_the_grammar(text: str) -> None:
    word = f"example.com/{text}"
    expected = expected_of(word)
    if (
        expected
        and expected[3]
        and not re.fullmatch(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", expected[3])
    ):
        expected = None
    try:
        parsed = reference.parse(word)
        assert (parsed.domain, parsed.path, parsed.tag, parsed.digest) == expected
    except ClientError:
        assert expected is None


@given(
    st.from_regex(HOST, fullmatch=True),
    st.text(alphabet="ab0._-/", max_size=12),
    st.from_regex(r"(:[\w.-]{1,9})?", fullmatch=True),
)
def test_hosts_agree_with_the_grammar(host: str, path: str, tag: str) -> None:
    word = f"{host}/{path}{tag}"
    if not ("." in host or ":" in host or host == "localhost") or host in ("docker.io", "index.docker.io"):
        return
    expected = expected_of(word)
    try:
        parsed = reference.parse(word)
        assert (parsed.domain, parsed.path, parsed.tag, parsed.digest) == expected
    except ClientError:
        assert expected is None


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except ClientError as error:
        assert "\n" not in str(error)
    else:
        assert reference.parse(parsed.full) == parsed
        assert reference.parse(parsed.familiar) == parsed
        assert reference.familiar(parsed.full) == parsed.familiar
