"""Sizes that follow from others: declared, read off affine indices, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.errors import FormulaError, ShapeError
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.text import text
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.environment import whole_size
from chalkgrad.verify.reference import run
from chalkgrad.verify.sample import sample

CONV1D = "y[n,f,h] = sum(c r, x[n,c,{index}] * w[f,c,r])"


def sizes(source: str) -> dict[str, str]:
    return {r.name: text(e) for r, e in read_formula(source).sizes}


@pytest.mark.parametrize(
    ("index", "size"),
    [
        ("h+r", "size(H2) - size(R) + 1"),
        ("2*h+r", "(size(H2) - size(R)) // 2 + 1"),
        ("3*h+2*r", "(size(H2) - 2 * size(R) + 1) // 3 + 1"),
        ("h+r+1", "size(H2) - size(R)"),
    ],
)
def test_the_largest_size_that_stays_inside(index: str, size: str) -> None:
    assert sizes(CONV1D.format(index=index)) == {"H": size}


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_values_of_a_strided_convolution(stride: int) -> None:
    program = read_formula(CONV1D.format(index=f"{stride}*h+r"))
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 11)), rng.normal(size=(4, 3, 4))
    values = run(program, dict(zip(program.inputs, (x, w), strict=True)))
    windows = np.lib.stride_tricks.sliding_window_view(x, 4, axis=2)[:, :, ::stride]
    assert values[program.outputs[0]] == pytest.approx(np.einsum("nchr,fcr->nfh", windows, w))


def test_the_smallest_of_several_sizes_keeps_all_reads_inside() -> None:
    assert sizes("y[n,h] = x[n,h+2] - x[n,h+0] * x[n,h+1]") == {"H": "size(H2) - 2"}


def test_a_number_fixes_the_range() -> None:
    program = read_formula("range p: 2\ny[n,h] = max(p, x[n,2*h+p])")
    assert [(r.name, text(e)) for r, e in program.sizes] == [("H", "size(H2) // 2")]
    x = np.arange(7.0)[None]
    assert run(program, {program.inputs[0]: x})[program.outputs[0]].tolist() == [[1.0, 3.0, 5.0]]


def test_a_declared_size_may_need_one_declared_later() -> None:
    declared = "range a: size(b) + 2; range b: size(u) - 1; t[b] = x[b+1]; y[a] = t[a // 2] * sum(u, x[u])"
    assert list(sizes(declared)) == ["B", "A"]


def test_padding_is_a_guarded_read_of_a_longer_range() -> None:
    padded = "x: N U; range a: size(U) + 2*3; p[n,a] = 1(a >= 3) * 1(a < size(U) + 3) * x[n,a-3]"
    program = read_formula(padded)
    x = np.arange(4.0).reshape(1, 4) + 1
    values = run(program, {program.inputs[0]: x})
    assert values[program.definitions[0].target].tolist() == [[0, 0, 0, 1, 2, 3, 4, 0, 0, 0]]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("y[h] = sum(p, x[h+p])", "does not follow from its use"),
        ("y[h] = sum(r, 1(h+r >= 1) * x[h+r-1] * w[r])", "does not follow from its use"),
        ("y[h] = sum(r, x[h-r] * w[r])", "does not follow from its use"),
        ("range h: 0\ny[h] = sum(r, x[h+r] * w[r])", "A size is 1 or more"),
        ("range h: s\ny[h] = sum(r, x[h+r] * w[r])", "A size is made of sizes"),
        ("range g: 2\ny[h] = sum(r, x[h+r] * w[r])", "There is no index or range g"),
        ("range h: 2\nrange h: 2\ny[h] = sum(r, x[h+r] * w[r])", "declared twice"),
        ("range h: size(h)\ny[h] = sum(r, x[h+r] * w[r])", "follows from itself"),
        ("y[i] = x[i+1] - x[i]", r"x\[i\+1\] reads outside of x"),
        ("y[i] = x[i] + x[i-2]", r"Guard the read: 1\(i - 2 >= 0\) \* x\[i-2\]"),
        ("y[h] = sum(r, x[s*h+r] * w[r])", "parameter s: 2"),
        ("parameter s: 2.5; y[h] = sum(r, x[s*h+r] * w[r])", "does not follow from its use"),
        ("parameter s: 2; y[h] = s * sum(r, x[s*h+r] * w[r])", "and as a symbol"),
    ],
)
def test_what_cannot_be_told_is_refused(source: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        read_formula(source)


def test_shapes_that_contradict_a_declared_size_are_refused() -> None:
    program = read_formula("range c: 2 * size(g)\nL = sum(c, x[c]) + sum(g, w[g])")
    x, w = program.inputs
    assert run(program, {x: np.ones(6), w: np.ones(3)})[program.outputs[0]] == 9
    with pytest.raises(ShapeError, match="must have the size"):
        run(program, {x: np.ones(5), w: np.ones(3)})


@pytest.mark.parametrize("seed", range(5))
def test_samples_fit_the_declared_sizes(seed: int) -> None:
    program = read_formula(CONV1D.format(index="2*h+r"))
    env = sample(program, seed)
    for of, formula in program.sizes:
        assert env.size(of) == whole_size(formula, env.sizes) >= 2


@pytest.mark.parametrize(
    "written",
    ["a // b", "(a * b) // c", "a % (b + 1)", "-(a // b)", "(a // b)^2", "a // b // c", "a * (b // 2)"],
)
def test_whole_quotients_read_back(written: str) -> None:
    def body(source: str) -> str:
        return text(read_formula(f"x: N int\n{source}").definitions[0].body)

    once = body(f"y = {written}")
    assert body(f"y = {once}") == once
    a, b, c = 17, 5, 3
    program = read_formula(f"y = {written}")
    value = run(program, {t: np.asarray({"a": a, "b": b, "c": c}[t.name]) for t in program.inputs})
    assert value[program.outputs[0]] == eval(written.replace("^", "**"))


def test_matrix_functions_read_back_and_have_values() -> None:
    source = "y[a,b] = inv(i j, A[i,j])[a,b] * det(i j, A[i,j]) + logdet(i j, 2 * A[i,j])"
    program = read_formula(source)
    assert str(program.definitions[0]) == source
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(4, 4))
    (A,) = program.inputs
    value = run(program, {A: matrix})[program.outputs[0]]
    expected = np.linalg.inv(matrix) * np.linalg.det(matrix) + np.linalg.slogdet(2 * matrix)[1]
    assert value == pytest.approx(expected)


def test_a_batch_of_matrices_is_inverted_one_by_one() -> None:
    program = read_formula("y[n,a] = sum(b, inv(i j, A[n,i,j])[a,b] * x[n,b]) * det(i j, A[n,i,j])")
    rng = np.random.default_rng(2)
    A, x = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2))
    values = run(program, dict(zip(program.inputs, (A, x), strict=True)))
    expected = np.linalg.solve(A, x[..., None])[..., 0] * np.linalg.det(A)[:, None]
    assert values[program.outputs[0]] == pytest.approx(expected)


@pytest.mark.parametrize(
    "source", ["y = inv(i j, A[i,j])", "y[a] = inv(i, A[i,i])[a]", "y[a] = det(i j, A[i,j])[a]"]
)
def test_a_matrix_function_has_its_own_brackets(source: str) -> None:
    with pytest.raises(FormulaError):
        parse(source)


@pytest.mark.parametrize(
    "text",
    [
        "parameter s: 2; y[n,h] = sum(r, x[n,s*h+r] * w[r])",
        "parameter s: 2; x: N U; range h: (size(U) - size(r)) // s + 1; y[n,h] = sum(r, x[n,s*h+r] * w[r])",
    ],
)
def test_a_parameter_may_be_a_stride(text: str) -> None:
    program, plain = read_formula(text), read_formula("x: N U; y[n,h] = sum(r, x[n,2*h+r] * w[r])")
    assert program.parameters == ()
    assert [str(d) for d in program.definitions] == [str(d) for d in plain.definitions]
