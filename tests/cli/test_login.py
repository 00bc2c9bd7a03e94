"""`login`, `logout`: to a real docker-registry with a password; where passwords are kept."""

from __future__ import annotations

import json

import pytest

from harness.registry.images import Image, layers

pytestmark = pytest.mark.usefixtures("forgets")

WARNING = """\
WARNING! Your password will be stored unencrypted in {}/docker/config.json.
Configure a credential helper to remove this warning. See
https://docs.docker.com/engine/reference/commandline/login/#credentials-store

"""
#: A credential helper as its makers want it, which keeps one password in a file.
HELPER = """#!/bin/sh
case $1 in
    store) cat > {place}/kept;;
    get) read host; cat {place}/kept 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }};;
    erase) read host; echo "$host" > {place}/erased; rm {place}/kept;;
esac
"""


def test_who_has_no_password_stays_outside(minirun, locked, tmp_path):
    image = Image(*layers("a"))
    locked.put(image, "x:1", "--dest-creds=me:secret")
    name = f"{locked.name}/x:1"
    where = f"http://{locked.name}/v2/x/manifests/1"
    result = minirun("pull", name)
    assert (result.code, result.err) == (1, f'Error response from daemon: Head "{where}": no basic auth credentials\n')
    wrong = minirun("login", "-u", "me", "-p", "bad", locked.name)
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err == (
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
        "Error response from daemon: "
        f"login attempt to http://{locked.name}/v2/ failed with status: 401 Unauthorized\n"
    )
    assert not (tmp_path / "docker").exists()


def test_login_lets_in_until_logout(minirun, locked, tmp_path):
    image = Image(*layers("a"))
    locked.put(image, "x:1", "--dest-creds=me:secret")
    done = minirun("login", "-u", "me", "--password-stdin", locked.name, input="secret\n")
    assert (done.code, done.out) == (0, "Login Succeeded\n")
    assert done.err == WARNING.format(tmp_path)
    assert json.loads((tmp_path / "docker/config.json").read_text()) == {
        "auths": {locked.name: {"auth": "bWU6c2VjcmV0"}}
    }
    again = minirun("login", locked.name)
    assert again.out == "Authenticating with existing credentials...\nLogin Succeeded\n"
    assert again.err == WARNING.format(tmp_path)
    minirun.ok("pull", "-q", f"{locked.name}/x:1")
    minirun.ok("tag", f"{locked.name}/x:1", f"{locked.name}/y")
    assert minirun.ok("push", "-q", f"{locked.name}/y") == f"{locked.name}/y:latest"
    assert minirun.ok("logout", locked.name) == f"Removing login credentials for {locked.name}"
    result = minirun("push", f"{locked.name}/y")
    assert (result.code, result.err) == (1, "no basic auth credentials\n")


def test_skopeos_password_will_do(minirun, locked, tmp_path):
    image = Image(*layers("a"))
    locked.put(image, "x:1", "--dest-creds=me:secret")
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {locked.name: {"auth": "bWU6c2VjcmV0"}}}))
    result = minirun("pull", "-q", f"{locked.name}/x:1", REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"))
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-u", "me", "-p", "x", "--password-stdin"], "--password and --password-stdin are mutually exclusive\n"),
        (["--password-stdin"], "Must provide --username with --password-stdin\n"),
        (["-u", "me"], "Error: Cannot perform an interactive login from a non TTY device\n"),
        ([], "Error: Cannot perform an interactive login from a non TTY device\n"),
    ],
)
def test_words_that_do_not_fit(minirun, tmp_path, words, text):
    result = minirun("login", *words, "127.0.0.1:9", DOCKER_CONFIG=str(tmp_path))
    assert (result.code, result.err.splitlines(keepends=True)[-1]) == (1, text)


# ---- at a terminal ----


def test_a_person_is_asked(terminal, locked, tmp_path):
    one = terminal("login", locked.name)
    one.read_until("^Username: $")
    one.type("me\r")
    one.read_until("me\r\nPassword: $")
    one.type("secret\r")
    assert one.wait() == 0
    assert one.rest() == f"\r\n{WARNING.format(tmp_path)}Login Succeeded\n".replace("\r", "").replace("\n", "\r\n")
    assert one.restored()
    one = terminal("login", "-u", "me", locked.name)
    one.read_until("^Password: $")
    one.type("bad\r")
    assert one.wait() == 1
    assert one.rest() == (
        "\r\nError response from daemon: login attempt to "
        f"http://{locked.name}/v2/ failed with status: 401 Unauthorized\r\n"
    )


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (["\r"], "Error: Non-null Username Required\r\n"),
        (["me\r", "\r"], "Error: Password Required\r\n"),
        (["\x04"], "EOF\r\n"),
    ],
)
def test_a_person_who_says_nothing(terminal, locked, answers, text):
    one = terminal("login", locked.name)
    for question, answer in zip(("Username: ", "Password: "), answers, strict=False):
        one.read_until(question)
        one.type(answer)
    assert one.wait() == 1
    assert one.rest().removeprefix("\r\n") == text


def test_a_password_that_is_no_longer_good(terminal, locked, tmp_path):
    (tmp_path / "docker").mkdir()
    file = tmp_path / "docker/config.json"
    file.write_text(json.dumps({"auths": {locked.name: {"auth": "bWU6YmFk"}}}))  # me:bad
    one = terminal("login", locked.name)
    assert one.read_until(r"Username \(me\): ") == (
        "Authenticating with existing credentials...\r\nLogin did not succeed, error: Error response from daemon: "
        f"login attempt to http://{locked.name}/v2/ failed with status: 401 Unauthorized\r\nUsername (me): "
    )
    one.type("\r")
    one.read_until("Password: ")
    one.type("secret\r")
    assert one.wait() == 0
    assert json.loads(file.read_text()) == {"auths": {locked.name: {"auth": "bWU6c2VjcmV0"}}}


# ---- helpers ----


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_password(minirun, host, locked, tmp_path, key):
    locked.put(Image(*layers("a")), "x:1", "--dest-creds=me:secret")
    helper = tmp_path / "docker-credential-lab"
    helper.write_text(HELPER.format(place=tmp_path))
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    file = tmp_path / "docker/config.json"
    file.write_text(json.dumps({key: "lab" if key == "credsStore" else {locked.name: "lab"}}))
    path = f"{tmp_path}:{host.environment['PATH']}"
    done = minirun("login", "-u", "me", "--password-stdin", locked.name, input="secret\n", PATH=path)
    assert (done.code, done.out, done.err) == (0, "Login Succeeded\n", "")
    assert json.loads((tmp_path / "kept").read_text()) == {
        "ServerURL": locked.name,
        "Username": "me",
        "Secret": "secret",
    }
    assert json.loads(file.read_text())["auths"] == {locked.name: {}}
    minirun.ok("pull", "-q", f"{locked.name}/x:1", PATH=path)
    minirun.ok("logout", locked.name, PATH=path)
    assert (tmp_path / "erased").read_text() == f"{locked.name}\n"
    assert "no basic auth credentials" in minirun("pull", "-q", f"{locked.name}/x:1", PATH=path).err
    assert json.loads(file.read_text())["auths"] == {}


def test_a_helper_that_is_not_there(minirun, locked, fake, tmp_path):
    fake.put(Image(*layers("a")))
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credsStore": "none"}')
    err = 'err: exec: "docker-credential-none": executable file not found in $PATH, out: ``\n'
    done = minirun("login", "-u", "me", "--password-stdin", locked.name, input="secret\n")
    assert (done.code, done.out, done.err) == (1, "", f"Error saving credentials: error storing credentials - {err}")
    done = minirun("pull", "-q", f"{fake.name}/x")  # which wants none
    assert (done.code, done.err) == (0, f"WARNING: error getting credentials - {err}")
