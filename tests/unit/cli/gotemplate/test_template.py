"""Go templates. What is expected here was printed by Docker 20.10.24 (`docker version -f`, `docker inspect -f`)."""

import json

import pytest

from minirun.cli.format.format import Format
from minirun.cli.gotemplate.exec import Template
from minirun.cli.gotemplate.lex import TemplateError
from minirun.cli.gotemplate.shape import shaped
from minirun.errors import ClientError

DATA = shaped(
    {
        "Id": "abc",
        "Name": "/w1",
        "Args": ["-c", "exit 3"],
        "State": {"Status": "running", "Running": True, "Pid": 3347, "Error": ""},
        "Config": {"Env": ["A=1", "B=2"], "Cmd": None, "Labels": {"k": "v", "a.b": "c"}, "Volumes": None},
        "HostConfig": {"Binds": None, "PidsLimit": None, "LogConfig": {"Type": "json-file", "Config": {}}},
        "NetworkSettings": {
            "IPAddress": "172.17.0.2",
            "Ports": {},
            "Networks": {"bridge": {"IPAddress": "172.17.0.2", "IPAMConfig": None}},
        },
    }
)


def result(text, data=DATA):
    return Template(text).execute(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain } text {", "plain } text {"),
        ("{{.Name}} {{ .State.Pid }}", "/w1 3347"),
        ("{{$.State.Status}}", "running"),
        ("{{.State.Running}}", "true"),
        ("{{.Args}}", "[-c exit 3]"),
        ("{{.State}}", "{running true 3347 }"),
        ("{{.Config.Labels}}", "map[a.b:c k:v]"),
        ("{{.HostConfig.Binds}} {{.HostConfig.PidsLimit}} {{.Config.Volumes}}", "[] <nil> map[]"),
        ("{{.Config.Labels.nosuch}}", "<no value>"),
        ("{{.ID}}", "abc"),
        ("{{.HostConfig.LogConfig}}", "{json-file map[]}"),
        ("{{json .Config.Labels}}", '{"a.b":"c","k":"v"}'),
        ("{{json .HostConfig.Binds}} {{json .State.Running}}", "null true"),
        ('{{index .Config.Labels "a.b"}}', "c"),
        ("{{index .Args 1}}", "exit 3"),
        ('{{(index .NetworkSettings.Networks "bridge").IPAddress}}', "172.17.0.2"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;k=v;"),
        ("{{range $i, $v := .Args}}{{$i}}{{$v}} {{$.Name}} {{end}}", "0-c /w1 1exit 3 /w1 "),
        ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
        ('{{if eq .State.Status "running"}}up{{else}}down{{end}}', "up"),
        ("{{if .State.Error}}bad{{else if .State.Running}}fine{{else}}odd{{end}}", "fine"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Config.Cmd}}x{{else}}-{{end}}", "3347-"),
        ("{{$x := .Name}}{{$x}}{{$x = 3}}{{$x}}", "/w13"),
        ("{{.Name | upper | len}}", "3"),
        ('{{join .Args "+"}}', "-c+exit 3"),
        ('{{split "a,b" ","}}', "[a b]"),
        ('{{title "ab cd"}} {{lower "AB"}} {{pad "x" 2 1}}|', "Ab Cd ab   x |"),
        ('{{truncate "abcdef" 3}}', "abc"),
        ('{{eq 1 2 1}} {{ne "a" "b"}} {{lt 1 2}} {{ge 2 2}}', "true true true true"),
        ('{{and true 0}} {{or 0 "" "z"}} {{not 0}}', "0 z true"),
        ('{{printf "%s-%d-%v-%q" "a" 5 true "x"}}', 'a-5-true-"x"'),
        ('{{printf "%5d|%-5s|%05d" 3 "ab" 7}}', "    3|ab   |00007"),
        ('{{print 1 2 "a" 3}}', "1 2a3"),
        ('{{println "a" 1}}', "a 1\n"),
        ('{{printf "%d"}}', "%!d(MISSING)"),
        ('a {{- " b " -}} c', "a b c"),
        ("a {{/* not shown */}} b", "a  b"),
        ('{{"q\\n"}}{{`r\\n`}}', "q\nr\\n"),
        ("{{1.5}} {{0x10}} {{1e3}} {{'a'}} {{-1}}", "1.5 16 1000 97 -1"),
        ("{{(1)}}", "1"),
        ("{{if and .Name (eq .State.Pid 3347)}}y{{end}}", "y"),
        ('{{len .Config.Env}} {{len "é"}}', "2 2"),
    ],
)
def test_what_templates_print(text, expected):
    assert result(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{", "unclosed action"),
        ("{{.A", "unclosed action"),
        ("{{nosuch .}}", 'function "nosuch" not defined'),
        ("{{if}}", "missing value for if"),
        ("{{range}}", "missing value for range"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{range .X}}", "unexpected EOF"),
        ("{{if .A}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ('{{"a}}', "unterminated quoted string"),
        ("{{`a", "unterminated raw quoted string"),
        ("{{.A .B}", "bad character U+007D '}'"),
        ('{{.A"x"}}', "bad character U+0022 '\"'"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{(.A}}", "unclosed left paren"),
        ("{{.A)}}", 'unexpected ")" in command'),
        ("{{@}}", 'unexpected "@" in command'),
        ("{{| .a}}", 'unexpected "|" in command'),
        ("{{}}", "missing value for command"),
        ("{{/* }}", "unclosed comment"),
        ("{{1a}}", 'bad number syntax: "1a"'),
        ("{{.A.}}", "unexpected <.> in operand"),
        ("{{range $i, $v := .A}}{{$w}}{{end}}", 'undefined variable "$w"'),
        ("{{if .A}}{{$y := 1}}{{end}}{{$y}}", 'undefined variable "$y"'),
    ],
)
def test_templates_that_cannot_be_read(text, reason):
    with pytest.raises(TemplateError, match=r"^template: :1: ") as caught:
        Template(text)
    assert str(caught.value) == f"template: :1: {reason}"


def test_the_line_of_a_mistake():
    with pytest.raises(TemplateError, match=r"^template: :2: unclosed action$"):
        Template("a\nb{{.X")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{{.Nope}}", '1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.State.Nope}}", '1:8: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
        ("x\n {{.Nope}}", '2:3: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ('{{index "abc" 9}}', '1:2: executing "" at <index "abc" 9>: error calling index: index out of range: 9'),
        (
            '{{(index (split "a" ",") 9)}}',
            '1:3: executing "" at <index (split "a" ",") 9>: error calling index: index out of range: 9',
        ),
        ("{{len 3}}", '1:2: executing "" at <len 3>: error calling len: len of type int'),
        ('{{eq "a" 1}}', '1:2: executing "" at <eq "a" 1>: error calling eq: incompatible types for comparison'),
        ("{{index}}", '1:2: executing "" at <index>: wrong number of args for index: want at least 1 got 0'),
        ('{{upper "a" "b"}}', '1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 2'),
        ("{{range 3}}x{{end}}", '1:8: executing "" at <3>: range can\'t iterate over 3'),
        ("{{3 4}}", '1:2: executing "" at <3>: can\'t give argument to non-function 3'),
        ("{{nil}}", '1:2: executing "" at <nil>: nil is not a command'),
    ],
)
def test_templates_that_fail_over_their_data(text, place):
    with pytest.raises(TemplateError) as caught:
        result(text)
    assert str(caught.value) == f"template: :{place}"


def test_what_was_printed_before_a_failure_is_kept():
    with pytest.raises(TemplateError) as caught:
        result("{{.Name}} and {{.Nope}}")
    assert caught.value.partial == "/w1 and "


# ---- --format of a list ----

ROWS = [
    {"Names": "pa", "Status": "Up 2 seconds", "Label": lambda name: {"a.b": "x"}.get(name, "")},
    {"Names": "w1", "Status": "Created", "Label": lambda name: ""},
]
HEADS = {"Names": "NAMES", "Status": "STATUS"}


def listed(capsys, text):
    Format(text, kind="*formatter.ContainerContext", heads=HEADS, columns=("Names", "Status")).print(ROWS)
    return capsys.readouterr().out


def test_a_line_for_each_row(capsys):
    assert listed(capsys, r"{{.Names}}\t{{.Status}}") == "pa\tUp 2 seconds\nw1\tCreated\n"
    assert [json.loads(line)["Names"] for line in listed(capsys, "{{json .}}").splitlines()] == ["pa", "w1"]


def test_a_table_has_heads(capsys):
    usual = "NAMES     STATUS\npa        Up 2 seconds\nw1        Created\n"
    assert listed(capsys, r"table {{.Names}}\t{{.Status}}") == usual
    assert listed(capsys, "table") == usual
    assert listed(capsys, r'table {{.Names}}\t{{.Label "a.b"}}') == "NAMES     b\npa        x\nw1        \n"


def test_a_field_that_a_list_does_not_have():
    with pytest.raises(ClientError) as caught:
        Format("{{.Nope}}", kind="*formatter.ContainerContext", heads=HEADS, columns=()).try_out()
    assert str(caught.value).endswith(
        'template: :1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type *formatter.ContainerContext'
    )


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (".HostConfig.Mounts", "[]"),
        (".HostConfig.Tmpfs", "map[]"),
        (".HostConfig.Sysctls", "map[]"),
        (".HostConfig.StorageOpt", "map[]"),
        (".HostConfig.Init", "<nil>"),
        (".Config.MacAddress", ""),
        (".Config.StopTimeout", "<nil>"),
        (".Config.ExposedPorts", "map[]"),
        (".Config.Healthcheck", "<nil>"),
        (".Config.StopSignal", ""),
        (".Config.NetworkDisabled", "false"),
        (".Config.ArgsEscaped", "false"),
        (".Config.Shell", "[]"),
        (".State.Health", "<nil>"),
        (".SizeRw", "<nil>"),
        ("json .HostConfig.Mounts", "null"),
        ("json .State", "{}"),
        ("if .State.Health", None),
    ],
)
def test_fields_that_inspect_leaves_out_are_empty_and_not_unknown(field, shown):
    """As a real Docker 20.10 answers for a container that was created without any option."""
    container = shaped({"State": {}, "Config": {}, "HostConfig": {"LogConfig": {"Config": {}}}})
    if shown is None:
        assert Template(f"{{{{{field}}}}}yes{{{{else}}}}no{{{{end}}}}").execute(container) == "no"
    else:
        assert Template(f"{{{{{field}}}}}").execute(container) == shown


@pytest.mark.parametrize("field", [".HostConfig.Annotations", ".State.Nosuch", ".HostConfig.LogConfig.Config.x.y"])
def test_fields_that_are_unknown_stay_so(field):
    with pytest.raises(TemplateError):
        Template(f"{{{{{field}}}}}").execute(shaped({"State": {}, "HostConfig": {"LogConfig": {"Config": {}}}}))
