"""Docker's tables: column widths, and JSON as inspect prints it."""

from minirun.cli.format.json import pretty
from minirun.cli.format.tabwriter import from_text, table

HEADS = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]


def test_an_empty_list_is_its_heads_alone():
    assert table([HEADS]) == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"


def test_a_column_is_as_wide_as_its_widest_cell_and_three_more():
    rows = [
        HEADS,
        ["78bd44c96c09", "alpine", '"sleep 1000"', "3 seconds ago", "Up 2 seconds (Paused)", "", "pa"],
        ["f1c80c2133b5", "alpine", '"echo \'a long comman…"', "3 seconds ago", "Created", "", "cr"],
    ]
    assert table(rows) == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS                  PORTS     NAMES\n"
        '78bd44c96c09   alpine    "sleep 1000"             3 seconds ago   Up 2 seconds (Paused)             pa\n'
        'f1c80c2133b5   alpine    "echo \'a long comman…"   3 seconds ago   Created                           cr\n'
    )


def test_no_column_is_narrower_than_ten_and_the_last_is_not_padded():
    assert table([["A", "B"], ["x", ""]]) == "A         B\nx         \n"
    assert table([["1234567", "x"], ["12345678", "y"]]) == "1234567    x\n12345678   y\n"


def test_text_with_tabs_becomes_a_table():
    assert from_text("NAMES\tSTATUS\npa\tUp 2 seconds\n") == "NAMES     STATUS\npa        Up 2 seconds\n"
    assert from_text("no tabs\n") == "no tabs\n"
    assert from_text("") == ""


def test_a_line_without_the_column_starts_the_measuring_anew():
    assert from_text("a long long cell\tx\nnone here\nb\ty\n") == "a long long cell   x\nnone here\nb         y\n"


def test_json_is_indented_by_four_blanks():
    assert pretty([{"A": [], "B": {}, "C": [1, None], "D": {"k": "v"}, "E": True}]) == (
        '[\n    {\n        "A": [],\n        "B": {},\n        "C": [\n            1,\n            null\n        ],\n'
        '        "D": {\n            "k": "v"\n        },\n        "E": true\n    }\n]'
    )
    assert pretty([]) == "[]"
    assert pretty({"é": 'a"b\n<'}) == '{\n    "é": "a\\"b\\n<"\n}'
