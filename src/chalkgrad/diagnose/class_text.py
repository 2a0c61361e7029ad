"""A backward method's text as that of a function: a variable in place of each attribute of the object."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalkgrad.diagnose.names import SELF, match, match_key
from chalkgrad.diagnose.own_source import tree_of

MISSING = "backward keeps none, as in self.d{0} = …"
"""What is said of an input that has no gradient."""

GRADIENTS = ("grads", "grad", "gradients")
"""Attributes that hold gradients by the name of the parameter, or as a list in their order."""


def is_gradient(attribute: str, name: str, inputs: Sequence[str]) -> bool:
    """Whether an attribute is called like the gradient of an input, as dW, grad_W or W_grad."""
    return match(attribute, inputs) is None and match_key(attribute, inputs) == name


class MethodText:
    """A backward method as a function of attributes, where its text allows that."""

    def __init__(self, function: Callable[..., Any], read: Sequence[str], spelled: Mapping[str, str]) -> None:
        self.function, self.read, self.spelled = function, read, spelled

    @staticmethod
    def of(
        layer: type, inputs: Sequence[str], arguments: Mapping[str, str], parameters: Sequence[str],
        scalar: bool, *, returns: bool = True,
    ) -> MethodText | None:  # fmt: skip
        """The function; None where the method does more with its object than read and set attributes.

        A loss takes no gradient from above, or one that is 1 unless it is told. `parameters` are the inputs
        that are no arguments of the forward, in order; where no argument has a gradient it returns none.
        """
        method = inspect.getattr_static(layer, "backward")
        tree = tree_of(method)
        if not isinstance(tree, ast.FunctionDef) or tree.decorator_list or not tree.args.args:
            return None
        taken, others = tree.args, (tree.args.vararg, tree.args.kwarg, *tree.args.kwonlyargs)
        own, *ups = (a.arg for a in taken.args)
        if any(others) or taken.posonlyargs or method.__code__.co_freevars or not (ups or scalar):
            return None
        free = ups[len(ups) - len(taken.defaults) :] if scalar else []
        attributes = _Attributes(layer, own, {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)})
        body = [attributes.statement(s) for s in tree.body]
        gradients = _stored(body, attributes.names, inputs, parameters)
        found = _Returns(list(arguments.values()), parameters, gradients)
        body = [found.visit(s) for s in body]
        if not returns and not isinstance(body[-1], ast.Return):
            body.append(found.visit(ast.copy_location(ast.Return(ast.Tuple([], ast.Load())), tree.body[-1])))
        if attributes.refused or found.refused:
            return None
        own_args = (attributes.names[n] for n in attributes.read)
        args = [ast.arg(n) for n in (*(n for n in ups if n not in free), *own_args, *free)]
        defaults = taken.defaults if free else []
        made = ast.FunctionDef(tree.name, ast.arguments([], args, None, [], [], None, defaults), body, [])
        ast.fix_missing_locations(ast.copy_location(made, tree))
        names = dict(method.__globals__)
        try:
            exec(compile(ast.Module([made], []), method.__code__.co_filename, "exec"), names)
        except (SyntaxError, ValueError):
            return None
        function = names[tree.name]
        function.__tree__, function.__upstream__, function.__missing__ = made, len(ups) > len(free), MISSING
        return MethodText(function, attributes.read, {v: f"{own}.{n}" for n, v in attributes.names.items()})


class _Attributes(ast.NodeTransformer):
    """Puts a variable in place of each attribute of an object.

    Attributes:
        names: The variable for each attribute.
        read: The attributes that are read, or worked on in place.
        refused: Whether the object is used in any other way.
    """

    def __init__(self, cls: type, own: str, taken: set[str]) -> None:
        self.cls, self.own, self.taken = cls, own, taken
        self.names: dict[str, str] = {}
        self.read: list[str] = []
        self.stored: set[str] = set()
        self.refused = False

    def statement(self, node: ast.stmt) -> ast.stmt:
        """A statement of the method's body; what an assignment sets is not read from the object later."""
        made: ast.stmt = self.visit(copy.deepcopy(node))
        for target in made.targets if isinstance(made, ast.Assign) else ():
            if isinstance(target, ast.Name):
                self.stored |= {n for n, variable in self.names.items() if variable == target.id}
        return made

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if not (isinstance(node.value, ast.Name) and node.value.id == self.own):
            return self.generic_visit(node)
        self.refused |= callable(getattr(self.cls, node.attr, None)) or isinstance(
            inspect.getattr_static(self.cls, node.attr, None), property
        )
        name = self.names.setdefault(node.attr, f"{SELF}{node.attr}")
        self.refused |= name in self.taken
        if isinstance(node.ctx, ast.Load) and node.attr not in (*self.read, *self.stored):
            self.read.append(node.attr)
        return ast.copy_location(ast.Name(name, node.ctx), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        target = node.target
        match target:
            case ast.Attribute(ast.Name(self.own), name) if name not in (*self.read, *self.stored):
                self.read.append(name)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.refused |= node.id in (self.own, "super")
        return node


def _stored(
    body: Sequence[ast.stmt], names: Mapping[str, str], inputs: Sequence[str], parameters: Sequence[str]
) -> dict[str, ast.expr]:
    """The expression that holds the gradient of each input when the method ends."""
    attributes = {v: n for n, v in names.items()}
    found: dict[str, ast.expr] = {}
    targets = [
        t for s in body for n in ast.walk(s) if isinstance(n, ast.Assign | ast.AugAssign)
        for t in (n.targets if isinstance(n, ast.Assign) else [n.target])
    ]  # fmt: skip
    for target in targets:
        match target:
            case ast.Subscript(ast.Name(name), ast.Constant(str() as key)) if (
                attributes.get(name) in GRADIENTS
            ):
                whose = match_key(key, inputs)
                if whose is not None:
                    found[whose] = ast.Subscript(ast.Name(name, ast.Load()), ast.Constant(key), ast.Load())
            case ast.Name(name) | ast.Subscript(ast.Name(name)) if name in attributes:  # or self.dW[...] = dW
                held = (n for n in inputs if is_gradient(attributes[name], n, inputs))
                found.update((n, ast.Name(name, ast.Load())) for n in held)
    listed = next((names[n] for n in GRADIENTS if n in names), None)
    if not found and listed is not None:  # self.grads[0][...] = dW, or dW, db = self.grads
        found = {n: ast.Subscript(ast.Name(listed, ast.Load()), ast.Constant(place), ast.Load())
                 for place, n in enumerate(parameters)}  # fmt: skip
    return found


class _Returns(ast.NodeTransformer):
    """Returns all gradients by name where a method returns those of its arguments."""

    def __init__(
        self, arguments: Sequence[str], parameters: Sequence[str], gradients: Mapping[str, ast.expr]
    ) -> None:
        self.arguments, self.every = list(arguments), [*arguments, *parameters]
        self.gradients = {n: e for n, e in gradients.items() if n not in self.arguments}
        self.refused = False

    def visit_Return(self, node: ast.Return) -> ast.AST:
        value = node.value
        if value is None:
            return node
        values = value.elts if isinstance(value, ast.Tuple) else [value]
        names = self.every if len(values) == len(self.every) else self.arguments
        if len(values) > len(names) or isinstance(value, ast.Dict):
            self.refused = True
            return node
        own = self.gradients | dict(zip(names, values, strict=False))
        made = ast.Dict([ast.Constant(n) for n in own], list(own.values()))
        return ast.fix_missing_locations(ast.copy_location(ast.Return(made), node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node
