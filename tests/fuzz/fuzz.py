"""Throw bytes at a reader, guided by what they make it do: `make fuzz`, or by hand

    PYTHONPATH=tests python3 tests/fuzz/fuzz.py unpack .fuzz/unpack -max_total_time=600

The first word is a target of tests/harness/fuzz_targets.py, the second a directory that keeps what led to new code, the rest is for
libFuzzer. What ends badly is written to crash-... in the directory of the target; a finding that was repaired goes to
tests/fuzz/found, where test_targets.py tries it for ever.

Needs PyPI's atheris, which is no dependency of the project.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

#: What is watched for new ways that the bytes lead it.
WATCHED = ["minirun.image", "tarfile", "email._parseaddr", "email.utils", "urllib.parse"]
with atheris.instrument_imports(include=WATCHED):
    from harness import fuzz_targets as targets


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in targets.TARGETS:
        sys.exit(f"usage: fuzz.py {'|'.join(targets.TARGETS)} DIRECTORY [OPTION OF LIBFUZZER...]")
    name, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for seed in targets.SEEDS[name]:
        (directory / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            str(directory),
            f"-artifact_prefix={directory}/",
            "-max_len=16384",
            "-timeout=20",
            "-rss_limit_mb=1024",
            f"-dict={Path(__file__).with_name('words.dict')}",
            *sys.argv[3:],
        ],
        targets.TARGETS[name],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
