"""The user's own line beside the right one, in the user's own names, where the source can be read."""

from __future__ import annotations

import ast
import builtins
import linecache
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from types import CodeType
from typing import Any

from chalkgrad.diagnose.frameworks import framework_of
from chalkgrad.diagnose.names import match_key
from chalkgrad.diagnose.own_variables import code_of, plain
from chalkgrad.diagnose.rewritten import rewritten
from chalkgrad.diff import for_code
from chalkgrad.emit.module_text import source
from chalkgrad.emit.names import identifier
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Program

WHERE = 3
"""Values explained behind a line; with more of them nobody reads on."""

NAME = re.compile(r"(?<![\w.\u0300-\u036f'\"])[^\W\d][\w\u0300-\u036f]*")
"""A variable, no attribute; x̂ is a letter and a combining mark."""


class OwnSource:
    """What can be read of a user's function.

    Args:
        function: The backward.
        program: The layer's forward.
        order: The inputs in the order in which their gradients are returned, if it is not the layer's.
        lead: Where the loss is returned beside them: 1 before, -1 behind, 0 nowhere.
    """

    def __init__(
        self, function: Callable[..., Any], program: Program, order: Sequence[str] = (), lead: int = 0
    ) -> None:
        self.program = program
        self.order, self.lead = order, lead
        self.target = framework_of(function)
        self.tree = tree_of(function)
        code = code_of(function)
        self.names = {*code.co_varnames, *code.co_names, *code.co_freevars} if code is not None else set()
        self.seen = getattr(plain(function), "__globals__", {})

    def line(self, argument: str) -> str:
        """The last line that computes an input's gradient; empty if it cannot be told."""
        element = self._element(argument)
        if element is None or self.tree is None:
            return ""
        text = ast.unparse(element)
        return self.assigned(text) or ("" if isinstance(element, ast.Name) else text)

    def assigned(self, name: str) -> str:
        """The last line that assigns a variable; empty if there is none."""
        found = ""
        for node in ast.walk(self.tree) if self.tree is not None else ():
            if name in _assigned(node) or name in _targets(node):
                found = ast.unparse(node)
        return found

    def right_line(self, argument: str, names: Mapping[str, str]) -> str:
        """The derivation's code for it, in the user's names where `names` knows them.

        A value that the user has no variable for is defined in a line before. Where an expression is
        returned, an expression is what should stand there.
        """
        own = identifier(f"d{argument}")
        name = self._own_name(argument)
        lines = self.right_assignment(own, {**names, own: name or own})
        if name or not self.line(argument) or lines.count(f"{own} = ") != 1:
            return lines
        *before, last = lines.splitlines()
        return "\n".join([*before, last.removeprefix(f"{own} = ")])

    def right_assignment(self, own: str, names: Mapping[str, str]) -> str:
        """The derivation's code for a variable of the emitted code; empty where it cannot be written.

        Names that the user's text has for something else are not used for what the lines before define.
        """
        values = emitted_values(self.program, self.target)
        if own not in values:
            return ""
        known = {own: own, **names}
        needed: list[str] = []
        if not self._defined(own, values, known, needed):
            return ""
        taken = {*self.names, *known.values(), *values}
        for name in needed:
            free = chain([name], (f"{name}{n}" for n in count(2)))
            known[name] = next(n for n in free if n not in self.names and (n == name or n not in taken))
            taken.add(known[name])
        lines = [values[name] for name in (*needed, own)]
        return "\n".join(NAME.sub(lambda m: known.get(m[0], m[0]), line) for line in lines)

    def _defined(
        self, name: str, values: Mapping[str, str], known: Mapping[str, str], needed: list[str]
    ) -> bool:
        """Whether all that a line reads is known, or defined by lines before, which are added in order."""
        for read in _read_by(values[name]):
            if read in known or read in needed or read in self.seen or hasattr(builtins, read):
                continue
            if read not in values or not self._defined(read, values, known, needed):
                return False
            needed.append(read)
        return len(needed) <= WHERE

    def exchanged(self, returned: Mapping[str, str]) -> tuple[str, str]:
        """The `return` as it is, and with each gradient at the place of its own input.

        Args:
            returned: Whose gradient is returned for each input.
        """
        statement = self._return()
        places = {a: e for a in returned if (e := self._element(a)) is not None}
        if statement is None or len(places) < len(returned):
            return "", ""
        belongs = {whose: ast.unparse(places[a]) for a, whose in returned.items()}
        known = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        return rewritten(statement, [(place, belongs[a]) for a, place in places.items()], known)

    def _own_name(self, argument: str) -> str:
        """The variable, or the entry that is assigned, that is returned for an input; empty where it is an
        expression or an argument."""
        element = self._element(argument)
        if isinstance(element, ast.Subscript) and self.assigned(ast.unparse(element)):
            return ast.unparse(element)
        taken = {a.arg for a in self.tree.args.args} if self.tree is not None else set()
        return element.id if isinstance(element, ast.Name) and element.id not in taken else ""

    def _element(self, argument: str) -> ast.expr | None:
        """The expression that is returned for an input."""
        return element_of(returned_by(self.tree), argument, self.program, self.order, self.lead)

    def _return(self) -> ast.Return | None:
        return _last_return(self.tree)


def returned_by(tree: ast.FunctionDef | ast.Lambda | None) -> ast.expr | None:
    """The expression that a function returns in the end."""
    if isinstance(tree, ast.Lambda):
        return tree.body
    statement = _last_return(tree)
    return statement.value if statement is not None else None


def _last_return(tree: ast.FunctionDef | ast.Lambda | None) -> ast.Return | None:
    """The last `return` of something."""
    nodes = ast.walk(tree) if isinstance(tree, ast.FunctionDef) else ()
    returns = [n for n in nodes if isinstance(n, ast.Return) and n.value is not None]
    return returns[-1] if returns else None


def behind_loss(value: ast.expr | None, lead: int) -> ast.expr | None:
    """The gradients in what is returned, without the loss before or behind them."""
    if not lead:
        return value
    if not isinstance(value, ast.Tuple | ast.List):
        return None
    rest = value.elts[1:] if lead > 0 else value.elts[:-1]
    return rest[0] if len(rest) == 1 else ast.Tuple(rest, ast.Load())


def entry_of(value: ast.expr) -> str:
    """The name of a variable, or of the entry of a dictionary; empty for any other expression."""
    match value:
        case ast.Name(name) | ast.Subscript(_, ast.Constant(str() as name)):
            return name
    return ""


def element_of(
    value: ast.expr | None, argument: str, program: Program, order: Sequence[str] = (), lead: int = 0
) -> ast.expr | None:
    """The part of what is returned that is an input's gradient; None where that cannot be told."""
    value = behind_loss(value, lead)
    dtypes = {t.name: t.dtype for t in program.inputs}
    names = list(order or dtypes)
    floats = [n for n in names if dtypes[n] == "float"]
    keyed = _keyed(value)
    if keyed is not None:
        return next((e for key, e in keyed if match_key(key, names) == argument), None)
    if isinstance(value, ast.Tuple | ast.List):
        if len(value.elts) != len(names):
            names = floats
        if len(value.elts) == len(order):  # of some inputs alone
            names = list(order)
        whole = argument in names and len(value.elts) >= len(names)
        return value.elts[names.index(argument)] if whole else None
    return value if [argument] in (floats, [*order]) else None


def _keyed(value: ast.expr | None) -> list[tuple[str, ast.expr]] | None:
    """The entries of a dictionary that is written out: {"x": dx} or dict(x=dx)."""
    match value:
        case ast.Dict(keys, values):
            pairs = zip(keys, values, strict=True)
            return [(str(k.value), v) for k, v in pairs if isinstance(k, ast.Constant)]
        case ast.Call(ast.Name("dict"), [], keywords):
            return [(k.arg, k.value) for k in keywords if k.arg is not None]
    return None


def _assigned(node: ast.AST) -> set[str]:
    """Names that a statement assigns, or of whose arrays it assigns entries."""
    if not isinstance(node, ast.Assign | ast.AugAssign):
        return set()
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    return {name for e in flat if (name := _base(e))}


def _base(node: ast.expr) -> str:
    """The variable of which a target is, or is a part."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _targets(node: ast.AST) -> set[str]:
    """What a statement assigns, as it is written: grads['W']."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {ast.unparse(t) for t in targets if isinstance(t, ast.Subscript)}


def tree_of(function: Callable[..., Any]) -> ast.FunctionDef | ast.Lambda | None:
    """The syntax of a function, found in its file by its first line; a lambda by where its body stands."""
    known = getattr(function, "__tree__", None)  # of a function made from a method
    if isinstance(known, ast.FunctionDef):
        return known
    code = code_of(function)
    if code is None:
        return None
    try:
        module = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = [
        n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.Lambda) and _is_source_of(n, code)
    ]
    return found[0] if len(found) == 1 else None


def _is_source_of(node: ast.FunctionDef | ast.Lambda, code: CodeType) -> bool:
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return node.name == code.co_name and code.co_firstlineno == first
    places = [p for p in code.co_positions() if None not in p and p[3] != 0]
    if code.co_name != "<lambda>" or not places:
        return False
    body = node.body
    return places[-1] == (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)


def _read_by(line: str) -> Iterator[str]:
    """Names that a line reads, in order, each once."""
    read = [n for n in ast.walk(ast.parse(line)) if isinstance(n, ast.Name)]
    written = {n.id for n in read if isinstance(n.ctx, ast.Store)}
    yield from dict.fromkeys(n.id for n in read if n.id not in written)


@lru_cache(64)
def emitted_values(program: Program, target: str = "numpy") -> dict[str, str]:
    """The emitted code's line for each name that is assigned once, forward and backward."""
    try:
        safe, backward = for_code(program)
        tree = ast.parse(source(safe, backward, "layer", target))
    except (ChalkgradError, SyntaxError):
        return {}
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args:
            worked_on = node.value.args[0]  # np.add.at(dW, t, df)
            if isinstance(worked_on, ast.Name) and worked_on.id in found:
                found[worked_on.id][-1] += f"; {ast.unparse(node)}"
        line = ast.unparse(node) if _gives(node) else ""
        line = re.sub(r"np\.asarray\((.+), \w+\.dtype\)", r"\1", line)  # care about float32, no mathematics
        if line and not re.search(r"= cache$|\.shape(\[\d+\])?$", line):
            for name in _assigned(node):
                found.setdefault(name, []).append(line)
    return {name: lines[0] for name, lines in found.items() if len(lines) == 1}


def _gives(node: ast.AST) -> bool:
    """Whether a statement gives values to what it assigns, rather than unpack some or nothing at all."""
    match node:
        case ast.Assign([ast.Tuple() | ast.List()]) | ast.Assign(value=ast.Constant(None)):
            return False
    return isinstance(node, ast.Assign | ast.AugAssign)
