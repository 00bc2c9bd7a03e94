"""`HEALTHCHECK` in a --change, as Docker 20.10 reads it."""

import pytest

from minirun.errors import EngineError
from minirun.image.dockerfile.change import apply


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("NONE", {"Test": ["NONE"]}),
        ("--retries=3 none", {"Test": ["NONE"]}),
        ("cmd  true  $X", {"Test": ["CMD-SHELL", "true  $X"]}),
        ('CMD ["a", "b c"]', {"Test": ["CMD", "a", "b c"]}),
        (
            '--interval=5m --timeout=3s --retries=2 --start-period=1s CMD curl -f "x y"',
            {
                "Test": ["CMD-SHELL", 'curl -f "x y"'],
                "Interval": 300 * 10**9,
                "Timeout": 3 * 10**9,
                "StartPeriod": 10**9,
                "Retries": 2,
            },
        ),
        ("--interval= CMD true", {"Test": ["CMD-SHELL", "true"]}),
        ("--interval=1h30m0.5s CMD true", {"Test": ["CMD-SHELL", "true"], "Interval": 5400500000000}),
        ("--interval=.5s CMD true", {"Test": ["CMD-SHELL", "true"], "Interval": 500000000}),
        ("--timeout=1ms CMD true", {"Test": ["CMD-SHELL", "true"], "Timeout": 1000000}),
    ],
)
def test_what_docker_makes_of_it(text, config):
    found = apply({}, [f"HEALTHCHECK {text}"])["Healthcheck"]
    assert (found, list(found)) == (config, list(config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "HEALTHCHECK requires at least one argument"),
        ("--interval=5s", "HEALTHCHECK requires at least one argument"),
        ("NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("CMD", "Missing command after HEALTHCHECK CMD"),
        ("CMD []", "Missing command after HEALTHCHECK CMD"),
        ("foo x", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("--foo=x CMD true", "Unknown flag: foo"),
        ("--interval CMD true", "Missing a value on flag: interval"),
        ("--retries=1 --retries=2 CMD true", "Duplicate flag specified: retries"),
        *(
            (f"--interval={value} CMD true", 'Interval "interval" cannot be less than 1ms')
            for value in ("0", "0s", "1us", "-5s")
        ),
        ("--interval=x CMD true", 'time: invalid duration "x"'),
        ("--interval=1.2.3s CMD a", 'time: invalid duration "1.2.3s"'),
        ("--interval=5 CMD true", 'time: missing unit in duration "5"'),
        ("--interval=1d CMD true", 'time: unknown unit "d" in duration "1d"'),
        ("--interval=9999999h CMD true", 'time: invalid duration "9999999h"'),
        ("--retries=0 CMD true", "--retries must be at least 1 (not 0)"),
        ("--retries=x CMD true", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("--retries=99999999999 CMD true", 'strconv.ParseInt: parsing "99999999999": value out of range'),
    ],
)
def test_what_docker_refuses(text, message):
    with pytest.raises(EngineError) as caught:
        apply({}, [f"HEALTHCHECK {text}"])
    assert str(caught.value) == message
