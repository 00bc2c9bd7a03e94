"""By which way a registry is reached: mirrors, proxies, certificates, insecure ones, names that nobody knows."""

from __future__ import annotations

import json

import pytest
from registries import Fake, Image, Real, forget_images, layers

pytestmark = pytest.mark.usefixtures("forgets")


def test_a_mirror_is_asked_first(minirun, host, tmp_path):
    image = Image(*layers("a"))
    with Fake(host, tmp_path / "fake").running() as fake:
        fake.put(image)
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"registry-mirrors": [f"http://{fake.name}"]}))
        assert minirun.ok("--config-file", str(config), "pull", "-q", "nobody/has-it") == \
            "docker.io/nobody/has-it:latest"
        assert {line["path"].split("/")[2:4] == ["nobody", "has-it"] for line in fake.log("blobs")} == {True}
    config.write_text(json.dumps({"registry-mirrors": ["ftp://x"]}))
    result = minirun("--config-file", str(config), "pull", "x")
    assert result.code == 1 and "invalid mirror: 'ftp://x'" in result.err


def test_a_certificate_that_nobody_vouches_for(minirun, host, tmp_path):
    made = host.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=lab", "-addext", "subjectAltName=IP:203.0.113.1",
                    "-keyout", f"{tmp_path}/key", "-out", f"{tmp_path}/crt")
    assert made.returncode == 0, made.stderr
    image = Image(*layers("a"))
    tls = f"http: {{addr: 203.0.113.1:5004, tls: {{certificate: {tmp_path}/crt, key: {tmp_path}/key}}}}\n"
    registry = Real(host, tmp_path, 5004)
    registry.config.write_text(registry.config.read_text().rpartition("http:")[0] + tls)
    registry.name = "203.0.113.1:5004"
    with registry.running():
        registry.put(image, "x")
        result = minirun("pull", "-q", f"{registry.name}/x")
        assert (result.code, result.err) == (1, f'Error response from daemon: Get "https://{registry.name}/v2/": x509: '
                                                "certificate of 203.0.113.1 cannot be verified\n")
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"insecure-registries": ["203.0.113.0/24"]}))
        assert minirun.ok("--config-file", str(config), "pull", "-q", f"{registry.name}/x")
        forget_images(minirun)
        result = minirun("pull", "-q", f"{registry.name}/x", SSL_CERT_FILE=f"{tmp_path}/crt")
        assert (result.code, result.err) == (0, "")
