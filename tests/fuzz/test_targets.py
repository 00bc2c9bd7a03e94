"""The readers of strangers' bytes: what the fuzzer starts from, and what it has found (tests/fuzz/found/TARGET-...)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import fuzz_targets as targets

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and device nodes take root")
FOUND = sorted((Path(__file__).parent / "found").iterdir())


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_the_fuzzer_starts_from_is_read(name: str) -> None:
    for seed in targets.SEEDS[name]:
        targets.READERS[name](seed)


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_the_fuzzer_has_found(file: Path) -> None:
    targets.TARGETS[file.name.partition("-")[0]](file.read_bytes())
