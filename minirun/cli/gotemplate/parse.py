"""Go's text/template, as far as `--format` and `inspect -f` go: from text to a tree (executed by `exec`).

    {{.Name}} {{.State.Pid}}        fields              {{index .Config.Env 0}} {{json .}}      functions
    {{range .Mounts}}..{{end}}      loops               {{if eq .A "x"}}..{{else}}..{{end}}     choices
    {{range $k, $v := .Labels}}     variables           {{.A | upper}} {{with .B}}..{{end}}     pipes, a new dot
    {{- .A -}}                      without the blanks around

A tree is made of tuples, the first element of each is its kind (see `Parser`). The words of errors and their places
("template: :1:2: ...") are Go's, because people copy them into a search engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.gotemplate.lex import TemplateError, words_of
from minirun.cli.gotemplate.values import FUNCTIONS

if TYPE_CHECKING:
    from minirun.cli.gotemplate.lex import Word


class Parser:
    """Reads a template into nested tuples:

    ("text", text)  ("print", pipe)  ("range"|"if"|"with", pipe, body, otherwise)
    pipe: ("pipe", variables, is declaration, [command])       command: ("command", [operand], position)
    operand: ("field", base or None, [names], position, source)  ("dot",)  ("variable", name)  ("value", constant)
             ("function", name, position)  ("pipe", ...)
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.items = words_of(text, self.fail)
        self.variables = ["$"]
        self.line = 1

    def fail(self, reason: str, line: int) -> TemplateError:
        """The error for a place in the template, in Go's words."""
        return TemplateError(f"template: {self.name}:{line}: {reason}")

    def parse(self) -> list[tuple]:
        """The whole template as a list of nodes."""
        body, end = self.body()
        if end:
            raise self.fail(f"unexpected {{{{{end}}}}}", self.line)
        return body

    def body(self) -> tuple[list[tuple], str]:
        """Everything up to {{end}}, {{else}} or the end of the text; and which of these it was."""
        nodes: list[tuple] = []
        for kind, content, line in self.items:
            self.line = line
            if kind == "text":
                nodes.append(("text", content))
                continue
            if content and content[0].kind == "keyword":
                keyword = content[0].text
                if keyword in ("end", "else"):
                    self.rest = content[1:]
                    return nodes, keyword
                if keyword not in ("if", "range", "with"):
                    raise self.fail(f"minirun does not have {{{{{keyword}}}}} yet", line)
                nodes.append(self.block(keyword, content[1:]))
            else:
                nodes.append(("print", self.pipe(content, "command")))
        return nodes, ""

    def block(self, keyword: str, words: list[Word]) -> tuple:
        """One {{if}}, {{range}} or {{with}} with its branches."""
        outer = len(self.variables)
        pipe = self.pipe(words, keyword)
        body, end = self.body()
        otherwise: list[tuple] = []
        if end == "else" and self.rest and keyword == "if" and self.rest[0].text == "if":
            otherwise = [self.block("if", self.rest[1:])]  # {{else if}}: its {{end}} is ours
            del self.variables[outer:]
            return keyword, pipe, body, otherwise
        if end == "else":
            otherwise, end = self.body()
            if end == "else":
                raise self.fail("expected end; found {{else}}", self.line)
        if end != "end":
            raise self.fail("unexpected EOF", self.line)
        del self.variables[outer:]
        return keyword, pipe, body, otherwise

    def pipe(self, words: list[Word], context: str) -> tuple:
        """A pipeline: declared variables, then commands with bars between them."""
        words = list(words)
        names: list[str] = []
        declares = False
        place = 0
        while place < len(words) and words[place].kind == "variable" and place + 1 < len(words):
            if words[place + 1].text not in (":=", "=") and not (words[place + 1].text == "," and context == "range"):
                break
            names.append(words[place].text)
            declares = words[place + 1].text == ":="
            place += 2
            if words[place - 1].text != ",":
                break
        commands = self.commands(words[place:], context)
        if declares:
            self.variables += names
        return "pipe", names, declares, commands

    def commands(self, words: list[Word], context: str) -> list[tuple]:
        """The commands of a pipeline."""
        commands: list[tuple] = []
        pending = words
        while True:
            operands, pending, start = [], list(pending), pending[0].position if pending else 0
            while pending and pending[0].text != "|":
                operands.append(self.operand(pending))
            if not operands:
                if pending:
                    raise self.fail('unexpected "|" in command', self.line)
                raise self.fail(f"missing value for {'command' if commands else context}", self.line)
            commands.append(("command", operands, start))
            if not pending:
                return commands
            pending = pending[1:]

    def operand(self, words: list[Word]) -> tuple:
        """Take one operand off the front of `words`."""
        word = words.pop(0)
        node: tuple
        if word.kind == "(":
            depth, inner = 1, []
            while words:
                following = words.pop(0)
                depth += (following.kind == "(") - (following.kind == ")")
                if not depth:
                    break
                inner.append(following)
            if depth:
                raise self.fail("unclosed left paren", self.line)
            node = self.pipe(inner, "parenthesized pipeline")
        elif word.kind == "field":
            node = ("field", None, [word.text[1:]], word.position, word.text)
        elif word.kind == "dot":
            node = ("dot",)
        elif word.kind == "variable":
            self.known(word.text)
            node = ("variable", word.text)
        elif word.kind == "value":
            node = ("value", word.value)
        elif word.kind == "name":
            if word.text not in FUNCTIONS:
                raise self.fail(f'function "{word.text}" not defined', self.line)
            node = ("function", word.text, word.position)
        else:
            raise self.fail(f'unexpected "{word.text}" in command', self.line)
        return self.chain(node, words)

    def chain(self, node: tuple, words: list[Word]) -> tuple:
        """`.A.B` and `(...).A`: fields that follow without a blank are looked up in what stands before."""
        while words and words[0].kind == "field" and words[0].glued:
            word = words.pop(0)
            if node[0] == "field":
                # Go reports the place of the second field of a chain
                position = word.position if len(node[2]) == 1 and node[1] is None else node[3]
                node = ("field", node[1], [*node[2], word.text[1:]], position, node[4] + word.text)
            else:
                source = node[1] + word.text if node[0] == "variable" else word.text
                node = ("field", node, [word.text[1:]], word.position, source)
        if words and words[0].kind == "dot" and words[0].glued:
            raise self.fail("unexpected <.> in operand", self.line)
        return node

    def known(self, name: str) -> None:
        """Check that a variable is declared."""
        if name not in self.variables:
            raise self.fail(f'undefined variable "{name}"', self.line)
