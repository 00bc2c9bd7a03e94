"""The corpus of what nobody should let in, each case by each way that it can come: import, load, pull.

After each the host outside of the store is as it was, to the byte, the owner and the time; nothing half-made is listed;
the message is one line, and the exit code is Docker's. (How large things may be: test_size.py.)
"""

from __future__ import annotations

import pytest

from harness.hostile import archives, layers, malformed
from harness.hostile.serve import serve
from harness.registry.images import Image
from harness.registry.images import layers as honest_layers


@pytest.mark.parametrize("name", layers.cases("/bait"))
def test_a_layer(guarded, fake, name):
    data, text = layers.cases(str(guarded.bait))[name]
    settings = archives.config(data)
    document = archives.manifest(settings, (data,))
    for file, content in (("layer", data), ("docker", archives.docker(data)), ("oci", archives.oci(data))):
        (guarded.given / file).write_bytes(content)
    for words in (
        ("import", str(guarded.given / "layer"), "a:1"),
        ("load", "-i", str(guarded.given / "docker")),
        ("load", "-i", str(guarded.given / "oci")),
        ("pull", "-q", serve(fake, document, settings, data)),
    ):
        result = guarded(*words)
        if text is not None:
            guarded.assert_refused(result, text)
        else:
            assert (result.code, result.err) == (0, ""), result
            guarded.forget()
            guarded.assert_unchanged()


@pytest.mark.parametrize("name", malformed.ARCHIVES)
def test_an_archive(guarded, name):
    data, text = malformed.ARCHIVES[name]
    (guarded.given / "archive").write_bytes(data)
    guarded.assert_refused(guarded("load", "-i", str(guarded.given / "archive")), text)


@pytest.mark.parametrize("prepare", malformed.REGISTRIES, ids=lambda prepare: prepare.__name__)
def test_a_registry(guarded, fake, prepare):
    image = Image(*honest_layers("a"))
    fake.put(image)
    prepare(fake, image)
    guarded.assert_refused(guarded("pull", "-q", f"{fake.name}/x"), malformed.REGISTRIES[prepare])
