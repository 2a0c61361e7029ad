"""Memory of the emitted step: two values that are needed at one time never share a buffer."""

from __future__ import annotations

from itertools import combinations

import pytest

from chalkgrad.emit.step import step_text
from chalkgrad.emit.step.memory import Layout, assign, entries
from chalkgrad.emit.step.operations import ELEMENTWISE, Op, Section, Value, View
from chalkgrad.emit.step.step_text import Plans
from chalkgrad.expr.nodes import Range
from chalkgrad.train.architecture import ACTIVATIONS, OBJECTIVES, objective_program
from chalkgrad.train.emitted import derived
from chalkgrad.train.optimisers import RULES

N, K = Range("N"), Range("K")
SIZES = {N: 4, K: 3}


def lives(section: Section) -> dict[Value, tuple[int, int]]:
    """When each value is first written and last touched."""
    found: dict[Value, tuple[int, int]] = {}
    for at, op in enumerate(section.ops):
        for v in [*op.reads(), *([op.out] if op.out is not None else [])]:
            found[v] = (found.get(v, (at, at))[0], at)
    return found


def clashes(section: Section, layout: Layout) -> list[tuple[Value, Value]]:
    """Pairs in one place that are alive together; an elementwise result may take over its operand."""
    when, wrong = lives(section), []
    placed = [v for v in when if v in layout.place]
    for a, b in combinations(placed, 2):
        if layout.place[a] != layout.place[b]:
            continue
        (first, last), (begin, _) = sorted([when[a], when[b]])
        early = a if when[a] == (first, last) else b
        late = b if early is a else a
        if begin > last:
            continue
        op = section.ops[begin]
        plain = all(x.plain for x in op.args if isinstance(x, View) and x.value is early)
        hands_over = begin == last and op.out is late and op.kind in ELEMENTWISE and plain
        if not (hands_over and early.ranges == late.ranges and early.kind == late.kind):
            wrong.append((a, b))
    return wrong


@pytest.mark.parametrize("rule", ["nesterov", "adamw"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(
    ("loss", "activation"), [*((n, "relu") for n in OBJECTIVES), *(("softmax", a) for a in ACTIVATIONS)]
)
def test_no_two_living_values_share_memory(
    loss: str, activation: str, layers: int, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Section, Layout]] = []

    def watched(section: Section, sizes: dict[Range, int]) -> Layout:
        layout = assign(section, sizes)
        seen.append((section, layout))
        return layout

    monkeypatch.setattr(step_text, "assign", watched)
    program = objective_program(layers, activation, loss)
    wrt = tuple(f"{kind}{n}" for n in range(1, layers + 1) for kind in "Wb")
    safe, backward = derived(program, wrt)
    rows = tuple(t.name for t in safe.inputs if t.name not in wrt)
    sizes = {r.name: 3 + n for n, r in enumerate(safe.ranges())}
    step_text.step_text(Plans(safe, backward, RULES[rule].program, rows, sizes))
    assert len(seen) >= 2
    for section, layout in seen:
        assert clashes(section, layout) == []
        for v, where in layout.place.items():
            if isinstance(where, int):
                assert v.ranges in layout.buffers[where].shapes
                assert v.kind == layout.buffers[where].kind


def test_the_check_sees_a_clash() -> None:
    a, b, c = Value((N,), name="a"), Value((N,), name="b"), Value((N,), name="c")
    ops = [
        Op("draw", "", (), a),
        Op("draw", "", (), b),
        Op("ufunc", "np.add", (View(a, (0,)), View(b, (0,))), c),
    ]
    section = Section(ops)
    layout = assign(section, SIZES)
    assert clashes(section, layout) == []
    assert layout.place[a] != layout.place[b]
    assert layout.place[c] in (layout.place[a], layout.place[b])
    layout.place[b] = layout.place[a]
    assert (a, b) in clashes(section, layout)


def test_a_product_never_overwrites_its_operand() -> None:
    a, b = Value((N, N), name="a"), Value((N, N), name="b")
    ops = [Op("draw", "", (), a), Op("matmul", "np.matmul", (View(a, (0, 1)), View(a, (1, 0))), b)]
    layout = assign(Section(ops), SIZES)
    assert layout.place[a] != layout.place[b]


def test_a_memory_that_is_still_read_is_written_late() -> None:
    old, new, out = Value((N,), name="v", home="v", given=True), Value((N,), name="v2", home="v"), Value((N,))
    ops = [
        Op("draw", "", (), new),
        Op("ufunc", "np.add", (View(old, (0,)), View(new, (0,))), out),
    ]
    layout = assign(Section(ops), SIZES)
    assert isinstance(layout.place[new], int)
    assert [op.out.home for op in layout.late if op.out is not None] == ["v"]
    assert layout.place[out] != layout.place[new]


def test_sizes_multiply() -> None:
    assert entries((N, K), SIZES) == 12
    assert entries((), SIZES) == 1
