"""Matrix form: Xᵀ G from Σ_i x_id G_ij, where there is one.

Results with at most two indices whose parts are arrays of at most two axes, products along one
index, elementwise products, sums and constants are recognised; anything else stays in index
notation, honestly.
"""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.matrix import (
    Diag,
    Elementwise,
    Identity,
    Inverse,
    Matrix,
    Named,
    Ones,
    Plus,
    Scalar,
    Scaled,
    Transpose,
    hadamard,
    product,
    transposed,
)
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Pow,
    Size,
    Sum,
)
from chalkgrad.expr.ops import free_indices, is_const, walk
from chalkgrad.rules.polynomial import factors_of

Pair = tuple[Index | None, Index | None]
"""The row index and the column index; None where there is none."""


def matrix_form(e: Expr, indices: tuple[Index, ...]) -> Matrix | None:
    """`e` as a matrix (two indices), column vector (one) or number (none), or None."""
    if len(indices) > 2:
        return None
    rows = indices[0] if indices else None
    columns = indices[1] if len(indices) == 2 else None
    if free_indices(e) < frozenset(indices):
        return _repeated(e, (rows, columns))
    return _matrix(e, (rows, columns))


def _repeated(e: Expr, at: Pair) -> Matrix | None:
    """A result with the same entry everywhere, or along its rows or columns: 1/N for each x_i is (1/N) 1."""
    if free_indices(e) or is_const(e, 0):
        return _spread(e, at) if free_indices(e) else _number(e)
    if any(isinstance(n, Sum) for n in walk(e)):
        return None
    ones: Matrix = Ones() if at[1] is None else product((Ones(), Transpose(Ones())))
    return ones if is_const(e, 1) else Scaled(e, ones)


def _matrix(e: Expr, at: Pair) -> Matrix | None:
    free = free_indices(e)
    if not free:
        return _number(e)
    if not free <= {i for i in at if i is not None}:
        return None
    match e:
        case Access():
            return _access(e, at)
        case Add(terms):
            parts = [_spread(t, at) for t in terms]
            return Plus(tuple(p for p in parts if p is not None)) if None not in parts else None
        case Mul():
            return _product(e, at)
        case Sum():
            return _contraction(e, at)
        case Apply(fn, args) if all(free_indices(a) == free for a in args):
            inner = [_matrix(a, at) for a in args]
            return Elementwise(fn, tuple(p for p in inner if p is not None)) if None not in inner else None
        case Pow(base, Const(Fraction() as power)):
            part = _matrix(base, at)
            if part is not None and power == 2:
                return hadamard((part, part))
            return None
        case Opaque("inv", _, _, (Index() as i, Index() as j)):
            return _inverse(e, (i, j), at)
        case Indicator("==", Index() as i, Index() as j) if {i, j} == set(at):
            return Identity() if i.range is j.range else None
        case Indicator(op, left, Const() as right) if free_indices(left) == free:
            part = _matrix(left, at)
            return Elementwise(f"{op} {right}", (part,)) if part is not None else None
    return None


def _spread(e: Expr, at: Pair) -> Matrix | None:
    """A term of a sum as a full matrix: a column a repeats as a 1ᵀ, a row as 1 bᵀ, a number as c 1."""
    rows, columns = at
    free = free_indices(e)
    if free == {i for i in at if i is not None}:
        return _matrix(e, at)
    if columns is None or rows is None:
        whole: Matrix = Ones()  # a number beside the entries of a vector
    elif free == {rows}:
        column = _matrix(e, (rows, None))
        return product((column, Transpose(Ones()))) if column is not None else None
    elif free == {columns}:
        row = _matrix(e, (columns, None))
        return product((Ones(), transposed(row))) if row is not None else None
    else:
        return None  # 1 1ᵀ − t ∘ t says less than 1 − t²
    if any(isinstance(n, Sum) for n in walk(e)):
        return None
    return whole if is_const(e, 1) else Scaled(e, whole)


def _inverse(e: Opaque, entry: tuple[Index, Index], at: Pair) -> Matrix | None:
    """The entry of an inverse at the result's own row and column, or the other way round."""
    if set(entry) != set(at) or None in at:
        return None
    inside = _matrix(e.body, (e.indices[0], e.indices[1]))
    if inside is None:
        return None
    return Inverse(inside) if entry == at else Transpose(Inverse(inside))


def _number(e: Expr) -> Matrix | None:
    if isinstance(e, Access | Const | Size):
        return Scalar(e)
    if isinstance(e, Sum):
        return _contraction(e, (None, None))
    return (
        Scalar(e) if not any(isinstance(f, Sum) for f in factors_of(e)) and not isinstance(e, Add) else None
    )


def _access(e: Access, at: Pair) -> Matrix | None:
    rows, columns = at
    plain = e.indices
    if plain == tuple(i for i in at if i is not None):
        return Named(e.tensor)
    if len(plain) == 2 and plain == (columns, rows):
        return Transpose(Named(e.tensor))
    if len(plain) == 1 and columns is not None and plain == (columns,) and rows is None:
        return Named(e.tensor)
    return None


def _product(e: Mul, at: Pair) -> Matrix | None:
    """Scalars in front, vectors as diagonal matrices at the sides, the rest elementwise."""
    rows, columns = at
    scalars, left, right, full = [], [], [], []
    for f in e.factors:
        free = free_indices(f)
        if not free:
            scalars.append(f)
        elif rows is not None and columns is not None and free == {rows}:
            left.append(_matrix(f, (rows, None)))
        elif rows is not None and columns is not None and free == {columns}:
            right.append(_matrix(f, (columns, None)))
        else:
            full.append(_matrix(f, at))
    if None in left or None in right or None in full:
        return None
    if any(isinstance(f, Sum) for f in scalars):
        return None
    core = [m for m in full if m is not None]
    lefts, rights = [m for m in left if m], [m for m in right if m]
    if not core:
        if len(lefts) != 1 or len(rights) != 1:
            return None
        middle: Matrix = product((lefts[0], transposed(rights[0])))
    else:
        middle = hadamard(core)
        if lefts or rights:
            middle = product((*map(Diag, lefts), middle, *map(Diag, rights)))
    if not scalars:
        return middle
    return Scaled(scalars[0] if len(scalars) == 1 else Mul(tuple(scalars)), middle)


def _contraction(e: Sum, at: Pair) -> Matrix | None:
    """Σ_j A_rj B_jc is A B; Σ_j A_rj is A 1; Σ_i Σ_j A_ij B_ij is 1ᵀ (A ∘ B) 1."""
    rows, columns = at
    if len(e.indices) == 2 and rows is None and columns is None:
        inner = _matrix(e.body, (e.indices[0], e.indices[1]))
        return product((Transpose(Ones()), inner, Ones())) if inner is not None else None
    if len(e.indices) != 1:
        return None
    j = e.indices[0]
    scalars = [f for f in factors_of(e.body) if not free_indices(f)]
    rest = [f for f in factors_of(e.body) if free_indices(f)]
    with_row = [f for f in rest if rows is not None and rows in free_indices(f)]
    with_column = [
        f for f in rest if f not in with_row and columns is not None and columns in free_indices(f)
    ]
    neutral = [f for f in rest if f not in with_row and f not in with_column]
    if any(columns in free_indices(f) for f in with_row) or scalars:
        return None
    if columns is None:
        return _vector(with_row, neutral, rows, j)
    return _two_sided(with_row, with_column, neutral, rows, columns, j)


def _vector(with_row: list[Expr], neutral: list[Expr], rows: Index | None, j: Index) -> Matrix | None:
    if rows is None:
        parts = [_matrix(f, (j, None)) for f in neutral]
        if None in parts or not parts:
            return None
        first = transposed(parts[0]) if len(parts) == 2 and parts[0] is not None else Transpose(Ones())
        clean = tuple(p for p in parts if p is not None)
        last = clean[1] if len(parts) == 2 else clean[0] if len(parts) == 1 else hadamard(clean)
        return product((first, last))
    left = _elementwise(with_row, (rows, j))
    right = _elementwise(neutral, (j, None)) if neutral else Ones()
    return product((left, right)) if left is not None and right is not None else None


def _two_sided(
    with_row: list[Expr],
    with_column: list[Expr],
    neutral: list[Expr],
    rows: Index | None,
    columns: Index,
    j: Index,
) -> Matrix | None:
    if not with_row or not with_column:
        return None
    left = _elementwise(with_row, (rows, j))
    right = _elementwise(with_column, (j, columns))
    middle = [Diag(m) for m in (_matrix(f, (j, None)) for f in neutral) if m is not None]
    if left is None or right is None or len(middle) != len(neutral):
        return None
    return product((left, *middle, right))


def _elementwise(factors: list[Expr], at: Pair) -> Matrix | None:
    if any(free_indices(f) != {i for i in at if i is not None} for f in factors):
        return None
    parts = [_matrix(f, at) for f in factors]
    if None in parts or not parts:
        return None
    clean = tuple(p for p in parts if p is not None)
    return clean[0] if len(clean) == 1 else hadamard(clean)
