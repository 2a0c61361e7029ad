"""Changes of a backward's text that change no number: no check may accuse what they give."""

from __future__ import annotations

import ast
import re
import unicodedata
from functools import partial

from corpus_edits import backward_of, expression

from chalkgrad.layers import GALLERY


class Einsum(ast.NodeTransformer):
    """a @ b as np.einsum."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.MatMult):
            text = "np.einsum('...ij,...jk->...ik' if np.ndim(B) > 1 else '...ij,j->...i', A, B)"
            return expression(text, A=node.left, B=node.right)
        return node


class Loops(ast.NodeTransformer):
    """Sums over the first axis as a loop over the observations."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "sum"
            and ast.unparse(node).endswith("axis=0)")
        ):
            return expression("sum(_row for _row in A)", A=node.func.value)
        return node


class Exchanged(ast.NodeTransformer):
    """a * b as b * a, a + b as b + a, a - b as -b + a."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult | ast.Add):
            return ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.Sub):
            return ast.BinOp(ast.UnaryOp(ast.USub(), node.right), ast.Add(), node.left)
        return node


class Powers(ast.NodeTransformer):
    """a / b as a * b**-1.0, a**2 as a * a."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            return expression("A * (1.0 / B)", A=node.left, B=node.right)
        if isinstance(node.op, ast.Pow) and ast.unparse(node.right) == "2":
            return expression("A * A", A=node.left)
        return node


class Reduced(ast.NodeTransformer):
    """x.sum(axis=k) as np.add.reduce(x, axis=k), x.T as np.transpose(x)."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        is_sum = isinstance(node.func, ast.Attribute) and node.func.attr == "sum"
        if is_sum and len(node.keywords) == 1 and node.keywords[0].arg == "axis":
            return expression("np.sum(A, axis=B)", A=node.func.value, B=node.keywords[0].value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return expression("np.transpose(A)", A=node.value) if node.attr == "T" else node


def _listed(tree: ast.Module) -> None:
    back = backward_of(tree).body[-1]
    assert isinstance(back, ast.Return)
    assert isinstance(back.value, ast.Tuple)
    back.value = ast.List(back.value.elts, ast.Load())


def _keyed(tree: ast.Module, layer: str) -> None:
    back = backward_of(tree).body[-1]
    assert isinstance(back, ast.Return)
    assert isinstance(back.value, ast.Tuple)
    names = [t.name for t in GALLERY[layer].program.inputs]
    keys: list[ast.expr | None] = [ast.Constant("d" + n) for n in names]
    back.value = ast.Dict(keys, back.value.elts)


def _in_place(tree: ast.Module) -> None:
    """Own temporaries worked on in place: the result is multiplied and divided again."""
    body = backward_of(tree).body
    back = body[-1]
    assert isinstance(back, ast.Return)
    assert isinstance(back.value, ast.Tuple)
    for element in back.value.elts:
        if isinstance(element, ast.Name):
            text = (
                f"{element.id} = np.array({element.id}, copy=True)\n{element.id} *= 2.0\n{element.id} /= 2.0"
            )
            body[-1:-1] = ast.parse(text).body


def _copied(tree: ast.Module) -> None:
    """A copy of the upstream gradient, spoiled at the end."""
    function = backward_of(tree)
    up = function.args.args[0].arg
    function.body[1:1] = ast.parse(f"{up} = np.array({up}, copy=True)").body
    function.body[-1:-1] = ast.parse(f"scratch = np.array({up}, copy=True)\nscratch *= 0").body


def _renamed(text: str) -> str:
    """γ and β in ASCII, as most people write them."""
    for greek, latin in (("γ", "gamma"), ("β", "beta"), ("μ", "mu"), ("σ", "sigma"), ("α", "alpha")):
        text = re.sub(greek, latin, text)
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def rewrites(text: str, layer: str) -> dict[str, str]:
    """The text as it is and rewritten in every way, by what was done."""
    made: dict[str, str] = {"as emitted": text, "ASCII names": _renamed(text)}
    for transformer in (Einsum, Loops, Exchanged, Powers, Reduced):
        tree = ast.parse(text)
        function = backward_of(tree)
        function.body = [function.body[0], *(transformer().visit(s) for s in function.body[1:])]
        made[transformer.__name__] = ast.unparse(ast.fix_missing_locations(tree))
    for name, change in (("list", _listed), ("dictionary", partial(_keyed, layer=layer)),
                         ("in place", _in_place), ("copy", _copied)):  # fmt: skip
        tree = ast.parse(text)
        change(tree)
        made[name] = ast.unparse(ast.fix_missing_locations(tree))
    return made
