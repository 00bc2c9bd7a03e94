"""Execution of a template: walk the parsed tree over the data and write the output (Go's text/template/exec.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.format.strconv_quote import quote
from minirun.cli.gotemplate.lex import TemplateError
from minirun.cli.gotemplate.parse import Parser
from minirun.cli.gotemplate.values import FUNCTIONS, NO_VALUE, Lazy, Map, Null, Reason, Struct, shown, type_name

if TYPE_CHECKING:
    from collections.abc import Callable


class Evaluation:
    """One run of a template over data; see `Template.execute`."""

    def __init__(self, template: Template, data: object, missing: Callable[[str], str] | None) -> None:
        self.template = template
        self.missing = missing or (lambda name: f'map has no entry for key "{name}"')
        self.variables: list[tuple[str, object]] = [("$", data)]
        self.data = data
        self.out: list[str] = []

    def text(self) -> str:
        """The output of the whole template. Errors: TemplateError, with what was printed before as `partial`."""
        try:
            self.body(self.template.tree, self.data)
        except TemplateError as error:
            error.partial = "".join(self.out)
            raise
        return "".join(self.out)

    def fail(self, reason: object, position: int, source: str) -> TemplateError:
        """The error for a place in the template, in Go's words."""
        name = self.template.name
        return TemplateError(
            f'template: {name}:{self.template.place(position)}: executing "{name}" at <{source}>: {reason}'
        )

    def body(self, nodes: list[tuple], dot: object) -> None:
        """Execute a list of nodes; variables declared in them end with them."""
        for node in nodes:
            if node[0] == "text":
                self.out.append(node[1])
            elif node[0] == "print":
                value = self.pipe(node[1], dot)
                if not node[1][1]:  # {{$x := .A}} prints nothing
                    self.out.append(shown(value))
            else:
                known = len(self.variables)
                self.block(node, dot)
                del self.variables[known:]

    def block(self, node: tuple, dot: object) -> None:
        """Execute {{if}}, {{range}} or {{with}}."""
        keyword, pipe, body, otherwise = node
        value = self.pipe(pipe, dot, ranges=keyword == "range")
        if not value:
            self.body(otherwise, dot)
        elif keyword == "if":
            self.body(body, dot)
        elif keyword == "with":
            self.body(body, value)
        else:
            self.loop(pipe, body, value)

    def loop(self, pipe: tuple, body: list[tuple], value: object) -> None:
        """Execute the body of {{range}} for each element, by key for a map."""
        if isinstance(value, dict):
            pairs = [(key, value[key]) for key in (sorted(value) if isinstance(value, Map) else value)]
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        else:
            first = pipe[3][0]
            raise self.fail(f"range can't iterate over {shown(value)}", first[2], _source(first))
        known = len(self.variables)
        for key, item in pairs:
            names = pipe[1]
            if len(names) == 2:
                self.variables.append((names[0], key))
            if names:
                self.variables.append((names[-1], item))
            self.body(body, item)
            del self.variables[known:]

    def pipe(self, pipe: tuple, dot: object, ranges: bool = False) -> object:
        """The value of a pipeline: each command's result is the last argument of the next."""
        _, names, declares, commands = pipe
        value: object = None
        for place, command in enumerate(commands):
            value = self.command(command, dot, [value] if place else [])
        if names and not ranges:
            if not declares:
                self.assign(names[0], value)
            else:
                self.variables.append((names[0], value))
        return value

    def assign(self, name: str, value: object) -> None:
        """Declare a variable, or give a declared one a new value."""
        for place in reversed(range(len(self.variables))):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return

    def command(self, command: tuple, dot: object, piped: list[object]) -> object:
        """The value of one command: an operand alone, or a function with its arguments."""
        _, operands, position = command
        first = operands[0]
        arguments = [self.operand(operand, dot) for operand in operands[1:]] + piped
        if first[0] == "function":
            return self.call(FUNCTIONS[first[1]], first[1], arguments, position, _source(command))
        value = self.operand(first, dot)
        if first == ("value", None):
            raise self.fail("nil is not a command", position, "nil")
        if callable(value):
            return self.call(value, first[2][-1], arguments, position, _source(command))
        if arguments:
            raise self.fail(f"can't give argument to non-function {_source(first)}", position, _source(first))
        return value

    def call(self, function: Callable, name: str, arguments: list[object], position: int, source: str) -> object:
        """Call a function of the template language."""
        code = function.__code__
        at_least = bool(code.co_flags & 0x04)  # CO_VARARGS: the function takes any number more
        if len(arguments) < code.co_argcount or len(arguments) > code.co_argcount and not at_least:
            wanted = f"at least {code.co_argcount}" if at_least else f"{code.co_argcount}"
            raise self.fail(f"wrong number of args for {name}: want {wanted} got {len(arguments)}", position, name)
        try:
            return function(*arguments)
        except Reason as reason:
            raise self.fail(reason, position, source) from None
        except (TypeError, AttributeError, ValueError):  # a function of strings got something else, or the like
            wrong = next((value for value in arguments if not isinstance(value, str)), arguments[0])
            raise self.fail(f"expected string; found {shown(wrong)}", position, source) from None

    def operand(self, operand: tuple, dot: object) -> object:
        """The value of an operand."""
        kind = operand[0]
        if kind == "dot":
            return dot
        if kind == "value":
            return operand[1]
        if kind == "variable":
            return next(value for name, value in reversed(self.variables) if name == operand[1])
        if kind == "pipe":
            return self.pipe(operand, dot)
        if kind == "function":
            return self.call(FUNCTIONS[operand[1]], operand[1], [], operand[2], operand[1])
        _, base, names, position, source = operand
        value = dot if base is None else self.operand(base, dot)
        for name in names:
            value = self.field(value, name, position, source)
        return value

    def field(self, value: object, name: str, position: int, source: str) -> object:
        """A field of a value, or an element of a map, as Go looks it up."""
        if isinstance(value, Map):
            return value.get(name, NO_VALUE)
        if isinstance(value, dict):
            # Go's names and those of its JSON differ in the case of abbreviations: .ID and .Id are one field
            key = name if name in value else next((key for key in value if key.upper() == name.upper() != key), "")
            if key and name[0].isupper():
                return value[key].get() if isinstance(value[key], Lazy) else value[key]
            if isinstance(value, Struct) and name in value.left_out:
                return value.left_out[name]
            raise self.fail(self.missing(name), position, source)
        if value is None or isinstance(value, Null):
            raise self.fail(f"nil pointer evaluating interface {{}}.{name}", position, source)
        raise self.fail(f"can't evaluate field {name} in type {type_name(value)}", position, source)


def _source(node: tuple) -> str:
    """A node as the template's author wrote it, for an error."""
    kind = node[0]
    if kind == "command":
        return " ".join(_source(operand) for operand in node[1])
    if kind == "pipe":
        return "(" + " | ".join(_source(command) for command in node[3]) + ")"
    if kind == "field":
        return node[4]
    if kind == "value":
        return quote(node[1]) if isinstance(node[1], str) else shown(node[1])
    return "." if kind == "dot" else str(node[1])


class Template:
    """A template that has been read. Arguments: text (str); name (str), as errors call it.

    Errors: TemplateError ("template: :1: unclosed action").
    """

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name
        self.tree = Parser(text, name).parse()

    def execute(self, data: object, missing: Callable[[str], str] | None = None) -> str:
        """The text for `data`.

        Arguments: missing, the reason to give for a field that `data` does not have (argument: its name).
        Errors: TemplateError; its `partial` holds what had been printed by then.
        """
        return Evaluation(self, data, missing).text()

    def place(self, position: int) -> str:
        """Line and column as Go counts them: lines from 1, columns from 0."""
        before = self.text[:position]
        return f"{before.count(chr(10)) + 1}:{position - before.rfind(chr(10)) - 1}"
