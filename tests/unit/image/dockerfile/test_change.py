"""`--change`: Dockerfile instructions, as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import EngineError
from minirun.image.dockerfile import change


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['CMD ["sh", "-l"]'], {"Cmd": ["sh", "-l"]}),
        (["CMD echo hi  there"], {"Cmd": ["/bin/sh", "-c", "echo hi  there"]}),
        (["cmd [not json"], {"Cmd": ["/bin/sh", "-c", "[not json"]}),
        (["CMD []"], {"Cmd": []}),
        (['ENTRYPOINT ["/init"]', "CMD a"], {"Entrypoint": ["/init"], "Cmd": ["/bin/sh", "-c", "a"]}),
        (["ENV A=1 B=2"], {"Env": ["A=1", "B=2"]}),
        (["ENV A=\"x y\" B=x\\ y C='$A' D="], {"Env": ["A=x y", "B=x y", "C=$A", "D="]}),
        (["ENV A hello  world"], {"Env": ["A=hello  world"]}),
        (["ENV A=1", "ENV A=2 B=$A", "ENV B=${B}x$A"], {"Env": ["A=2", "B=1x2"]}),
        (["ENV PATH=/x:$PATH"], {"Env": ["PATH=/x:"]}),
        (['LABEL a=1 b="two words"'], {"Labels": {"a": "1", "b": "two words"}}),
        (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        (["WORKDIR x"], {"WorkingDir": "/x"}),
        (["USER 1000:1000"], {"User": "1000:1000"}),
        (
            ["EXPOSE 80 53/udp 8000-8002"],
            {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}},
        ),
        (['VOLUME ["/a b", "/c"]'], {"Volumes": {"/a b": {}, "/c": {}}}),
        (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        (["ENV A=${B:-x} B=1", "ENV C=${B:-x}${B:+y}${D:+z}${B?no}"], {"Env": ["A=x", "B=1", "C=1y1"]}),
        (["ENV A=${B:-${C:-'d e'}}f\\\\g"], {"Env": ["A=d ef\\g"]}),
        (["ENV A=1 \\\n # no\n B=2\nUSER me"], {"Env": ["A=1", "B=2"], "User": "me"}),
        (["USER a b"], {"User": "a b"}),
        (["WORKDIR /a/../b"], {"WorkingDir": "/a/../b"}),
        (["EXPOSE 127.0.0.1:8080:80"], {"ExposedPorts": {"80/tcp": {}}}),
        (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
        ([], {}),
        (["# a remark", "USER x"], {"User": "x"}),
    ],
)
def test_an_instruction_changes_its_part(lines: list[str], expected: dict) -> None:
    assert change.apply({}, lines) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("BOGUS x", "bogus is not a valid change command"),
        ("RUN x", "run is not a valid change command"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", 'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
        ("ENV =1", "ENV names can not be blank"),
        ("STOPSIGNAL SIGTERM", "stopsignal is not a valid change command"),
        ("# a remark", "file with no instructions"),
        ("USER", "USER requires exactly one argument"),
        ("LABEL =x", "LABEL names can not be blank"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 70000", "Invalid containerPort: 70000"),
        ("EXPOSE 90-80", "Invalid containerPort: 90-80"),
        ("EXPOSE 80/icmp", "Invalid proto: icmp"),
        ("ENV A=${B", "failed to process \"${B\": missing ':' in substitution"),
        ("ENV A=${}", 'failed to process "${}": syntax error: bad substitution'),
        ("ENV A=${B:x}", 'failed to process "${B:x}": unsupported modifier (x) in substitution'),
        ("ENV A=${B?no}", 'failed to process "${B?no}": B: no'),
        ('ENV A="x', 'failed to process "\\"x": unexpected end of statement while looking for matching double-quote'),
    ],
)
def test_what_is_no_change_is_refused_in_docker_s_words(line: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        change.apply({}, [line])
    assert str(caught.value) == message


def test_a_new_entrypoint_forgets_the_old_command_but_not_one_said_beside_it() -> None:
    before = {"Cmd": ["old"], "Env": ["A=1"]}
    assert change.apply(before, ["ENTRYPOINT e"]) == {"Entrypoint": ["/bin/sh", "-c", "e"], "Env": ["A=1"]}
    assert change.apply(before, ["CMD c", "ENTRYPOINT e"])["Cmd"] == ["/bin/sh", "-c", "c"]
    assert before == {"Cmd": ["old"], "Env": ["A=1"]}


@given(st.sampled_from(sorted(change.INSTRUCTIONS)), st.text(max_size=40))
def test_any_text_is_taken_or_refused(word: str, rest: str) -> None:
    try:
        change.apply({}, [f"{word} {rest}"])
    except EngineError as error:
        assert str(error)
