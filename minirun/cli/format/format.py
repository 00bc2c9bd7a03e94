"""`--format` of the lists: Docker's "table ...", "raw" and plain templates, over the rows of a list."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.format.tabwriter import from_text
from minirun.cli.gotemplate.exec import Template
from minirun.cli.gotemplate.lex import TemplateError
from minirun.cli.gotemplate.values import Row
from minirun.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Format:
    """The value of --format: a template for each row, with or without a heading for each column.

    Arguments: text (str); kind (str), the Go type that Docker names in errors; heads, field → head of its column;
    columns, the fields of the usual table; prefixes, what stands before the reason when the template cannot be read,
    and when it cannot be evaluated. Errors: ClientError.
    """

    def __init__(
        self,
        text: str,
        *,
        kind: str,
        heads: Mapping[str, str],
        columns: Sequence[str],
        prefixes: tuple[str, str] = ("template parsing error", "template parsing error"),
    ) -> None:
        self.kind = kind
        self.heads = heads
        self.prefixes = prefixes
        text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
        self.is_default = text == "table"
        self.is_table = text.startswith("table")
        if self.is_table:
            text = text.removeprefix("table").strip() or "\t".join(f"{{{{.{column}}}}}" for column in columns)
        try:
            self.template = Template(text)
        except TemplateError as error:
            raise ClientError(f"{prefixes[0]}: {error}", exit_code=1) from None

    def try_out(self) -> None:
        """Execute it over an empty row, as `docker ps` does before it asks the daemon. Errors: ClientError."""
        self.line({**dict.fromkeys(self.heads, ""), "Label": lambda name: ""})

    def print(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write a line for each row, below the heads of a table."""
        lines = [self.line(row) for row in rows]
        if not self.is_table:
            sys.stdout.write("".join(lines))
            return
        # A label's column is called after the label: "com.example.owner" has the head "owner"
        heads = {**self.heads, "Label": lambda name: name.rpartition(".")[2].replace("-", " ").replace("_", " ")}
        sys.stdout.write(from_text(self.line(heads) + "".join(lines)))

    def line(self, row: Mapping[str, object]) -> str:
        """The text of one row. Errors: ClientError for a template that cannot be executed over it."""
        try:
            return self.template.execute(Row(row), self._missing) + "\n"
        except TemplateError as error:
            raise ClientError(f"{self.prefixes[1]}: {error}", exit_code=1) from None

    def _missing(self, name: str) -> str:
        return f"can't evaluate field {name} in type {self.kind}"
