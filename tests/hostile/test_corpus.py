"""The corpus of what nobody should let in, each case by each way that it can come: import, load, pull.

After each the host outside of the store is as it was, to the byte, the owner and the time; nothing half-made is listed;
the message is one line, and the exit code is Docker's. (How large things may be: test_size.py.)
"""

from __future__ import annotations

import pytest

from harness.hostile import archives, layers, malformed
from harness.hostile.serve import serve
from harness.registry.servers import Image
from harness.registry.servers import layers as honest_layers


@pytest.mark.parametrize("name", layers.cases("/bait"))
def test_a_layer(house, fake, name):
    data, text = layers.cases(str(house.bait))[name]
    settings = archives.config(data)
    document = archives.manifest(settings, (data,))
    for file, content in (("layer", data), ("docker", archives.docker(data)), ("oci", archives.oci(data))):
        (house.given / file).write_bytes(content)
    for words in (
        ("import", str(house.given / "layer"), "a:1"),
        ("load", "-i", str(house.given / "docker")),
        ("load", "-i", str(house.given / "oci")),
        ("pull", "-q", serve(fake, document, settings, data)),
    ):
        result = house(*words)
        if text is not None:
            house.assert_refused(result, text)
        else:
            assert (result.code, result.err) == (0, ""), result
            house.forget()
            house.assert_unchanged()


@pytest.mark.parametrize("name", malformed.ARCHIVES)
def test_an_archive(house, name):
    data, text = malformed.ARCHIVES[name]
    (house.given / "archive").write_bytes(data)
    house.assert_refused(house("load", "-i", str(house.given / "archive")), text)


@pytest.mark.parametrize("lie", malformed.REGISTRIES, ids=lambda lie: lie.__name__)
def test_a_registry(house, fake, lie):
    image = Image(*honest_layers("a"))
    fake.put(image)
    lie(fake, image)
    house.assert_refused(house("pull", "-q", f"{fake.name}/x"), malformed.REGISTRIES[lie])
