"""A registry whose tokens come from another server: a real docker-registry, which checks their signatures."""

from __future__ import annotations

import json

import pytest

from harness.registry.images import Image, layers
from harness.registry.servers import DockerRegistry, TokenServer

pytestmark = pytest.mark.usefixtures("forgets")


@pytest.fixture
def tokens(host, tmp_path):
    with TokenServer(host, tmp_path / "tokens").running() as tokens:
        yield tokens


@pytest.fixture
def guarded(host, tmp_path, tokens):
    """A registry that believes the token server; the client's files are in a directory of the test's own."""
    host.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    with DockerRegistry(host, tmp_path, 5004, tokens.more).running() as registry:
        yield registry
    del host.environment["DOCKER_CONFIG"]


def put(guarded: DockerRegistry, tokens: TokenServer, *names: str) -> Image:
    image = Image(*layers("a", "b"))
    for name in names:
        guarded.put(image, name, "--dest-creds=me:secret")
    tokens.log()
    return image


def asked(tokens: TokenServer) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(line["method"], line["user"], tuple(line["scopes"])) for line in tokens.log()]


def knows_password(tmp_path, guarded: DockerRegistry, auth: str = "bWU6c2VjcmV0") -> None:
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {guarded.name: {"auth": auth}}}))


def test_nobody_in_particular_may_pull_what_is_public(minirun, guarded, tokens):
    image = put(guarded, tokens, "public/x:1", "private/x:1")
    minirun.ok("pull", "-q", f"{guarded.name}/public/x:1")
    assert asked(tokens) == [("GET", "", ("repository:public/x:pull",))]  # one token for all requests
    assert minirun.ok("images", "-q", "--no-trunc", f"{guarded.name}/public/x:1") == image.id
    denied = "denied: requested access to the resource is denied\n"
    result = minirun("pull", f"{guarded.name}/private/x:1")
    assert (result.code, result.err) == (
        1,
        (
            f"Error response from daemon: pull access denied for {guarded.name}/private/x, repository does not exist or "
            f"may require 'docker login': {denied}"
        ),
    )
    result = minirun("push", f"{guarded.name}/public/x:1")
    assert (result.code, result.err) == (1, denied)


def test_a_password_is_shown_to_the_token_server_alone(minirun, guarded, tokens, tmp_path):
    put(guarded, tokens, "private/x:1")
    knows_password(tmp_path, guarded)
    minirun.ok("pull", "-q", f"{guarded.name}/private/x:1")
    (line,) = tokens.log()
    assert line == {"method": "GET", "user": "me", "scopes": ["repository:private/x:pull"], "account": "me"}
    knows_password(tmp_path, guarded, "bWU6YmFk")  # me:bad
    text = "unauthorized: incorrect username or password\n"
    result = minirun("pull", f"{guarded.name}/private/x:1")
    assert (result.code, result.err) == (
        1,
        f'Error response from daemon: Head "http://{guarded.name}/v2/private/x/manifests/1": {text}',
    )
    result = minirun("push", f"{guarded.name}/private/x:1")
    assert (result.code, result.err) == (1, text)


def test_login_keeps_an_identity_token_instead_of_the_password(minirun, guarded, tokens, tmp_path):
    put(guarded, tokens, "private/x:1")
    file = tmp_path / "docker/config.json"
    wrong = minirun("login", "-u", "me", "--password-stdin", guarded.name, input="bad")
    assert (wrong.code, wrong.err) == (
        1,
        f'Error response from daemon: Get "http://{guarded.name}/v2/": unauthorized: incorrect username or password\n',
    )
    done = minirun("login", "-u", "me", "--password-stdin", guarded.name, input="secret")
    assert (done.code, done.out, done.err) == (0, "Login Succeeded\n", "")
    assert json.loads(file.read_text()) == {
        "auths": {guarded.name: {"auth": "bWU6", "identitytoken": "identity-of-me"}}
    }
    tokens.log()
    minirun.ok("pull", "-q", f"{guarded.name}/private/x:1")
    assert asked(tokens) == [("POST", "me", ("repository:private/x:pull",))]
    minirun.ok("tag", f"{guarded.name}/private/x:1", f"{guarded.name}/private/x:2")
    minirun.ok("push", "-q", f"{guarded.name}/private/x:2")
    assert asked(tokens) == [("POST", "me", ("repository:private/x:pull,push",))]
    minirun.ok("logout", guarded.name)
    assert json.loads(file.read_text()) == {"auths": {}}


def test_login_keeps_the_password_where_there_is_no_identity_token(minirun, guarded, tokens, tmp_path):
    tokens.behave(plain=True)
    done = minirun("login", "-u", "me", "--password-stdin", guarded.name, input="secret")
    assert done.code == 0 and done.err.startswith("WARNING! Your password will be stored unencrypted in ")
    assert json.loads((tmp_path / "docker/config.json").read_text())["auths"] == {
        guarded.name: {"auth": "bWU6c2VjcmV0"}
    }


def test_a_token_that_has_seen_its_end(minirun, guarded, tokens, tmp_path):
    put(guarded, tokens, "private/x:1")
    knows_password(tmp_path, guarded)
    tokens.behave(expired=1000)
    result = minirun("pull", f"{guarded.name}/private/x:1")
    assert result.code == 1 and "unauthorized: authentication required" in result.err
    assert len(tokens.log()) <= 4  # HEAD and GET, two attempts each: not for ever
    tokens.behave(expired=5)  # one more than the server has given so far
    minirun.ok("pull", "-q", f"{guarded.name}/private/x:1")
    assert len(tokens.log()) >= 2


def test_a_token_ends_in_the_middle_of_a_pull(minirun, fake):
    image = Image(*layers("a", "b", "c"))
    fake.put(image)
    fake.behave(token=f"http://{fake.name}/token", uses=2)
    minirun.ok("pull", "-q", f"{fake.name}/x")
    assert minirun.ok("images", "-q", "--no-trunc", f"{fake.name}/x") == image.id
    assert len(fake.log("/token")) >= 3


def test_a_layer_from_another_repository_needs_both_scopes(minirun, guarded, tokens, tmp_path):
    image = put(guarded, tokens, "private/from:1")
    knows_password(tmp_path, guarded)
    minirun.ok("pull", "-q", f"{guarded.name}/private/from:1")
    tokens.log()
    minirun.ok("tag", f"{guarded.name}/private/from:1", f"{guarded.name}/private/to:1")
    out = minirun.ok("push", f"{guarded.name}/private/to:1")
    assert out.count(": Mounted from private/from\n") == len(image.layers)
    assert ("GET", "me", ("repository:private/to:pull,push", "repository:private/from:pull")) in asked(tokens)
