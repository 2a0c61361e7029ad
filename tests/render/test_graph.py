"""The computational graph: boxes apart, arrows along the layers, gradients where they flow."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from chalkgrad.diff.normal_form import normal_form
from chalkgrad.expr.nodes import Program
from chalkgrad.layers import GALLERY
from chalkgrad.render.graph import BEND, graph, shape_text
from chalkgrad.render.graph_svg import graph_svg


def program_of(name: str) -> Program:
    return normal_form(GALLERY[name].program)


@pytest.mark.parametrize("across", [False, True], ids=["down", "across"])
@pytest.mark.parametrize("name", GALLERY)
def test_boxes_do_not_touch_and_every_arrow_leads_on(name: str, across: bool) -> None:
    program = program_of(name)
    wrt = tuple(t for t in program.inputs if t.dtype == "float")
    picture = graph(program, wrt, across=across)
    for one, other in combinations(picture.boxes, 2):
        apart = max(
            abs(one.x - other.x) - (one.width + other.width) / 2,
            abs(one.y - other.y) - (one.height + other.height) / 2,
        )
        assert apart >= BEND / 2
    for arrow in picture.arrows:
        places = [box.x if across else box.y for box in arrow.boxes]
        assert places == sorted(places)
        first, last = arrow.boxes[0].layer, arrow.boxes[-1].layer
        assert [b.layer for b in arrow.boxes] == list(range(first, last + 1))
    for box in picture.boxes:
        assert box.width / 2 - 1e-9 <= box.x <= picture.width - box.width / 2 + 1e-9
        assert box.height / 2 - 1e-9 <= box.y <= picture.height - box.height / 2 + 1e-9


def test_gradients_flow_back_along_the_paths_to_what_was_asked_for() -> None:
    program = program_of("affine")
    x, W, b = program.inputs
    picture = graph(program, (W,))
    assert {arrow.boxes[0].tensor: arrow.active for arrow in picture.arrows} == {x: False, W: True, b: False}
    assert picture.active == {W, program.outputs[0]}


def test_an_arrow_that_jumps_bends_in_every_layer_it_crosses() -> None:
    program = program_of("batch_norm")
    picture = graph(program, program.inputs)
    jumps = {
        (a.boxes[0].tensor.name, a.boxes[-1].tensor.name): len(a.boxes) - 2  # type: ignore[union-attr]
        for a in picture.arrows
        if len(a.boxes) > 2
    }
    assert jumps == {("x", "c"): 1, ("c", "x̂"): 3}


@pytest.mark.parametrize("alone", [False, True])
def test_the_picture_is_drawn_the_same_every_time(alone: bool) -> None:
    program = program_of("softmax_loss")
    wrt = program.inputs[:1]
    drawn = graph_svg(program, wrt, across=True, alone=alone)
    assert drawn == graph_svg(program, wrt, across=True, alone=alone)
    tree = ET.fromstring(drawn)
    texts = {"".join(t.itertext()) for t in tree.iter() if t.tag.endswith("text")}
    assert {"N, int", "N × K"} <= texts
    assert any(t.startswith("p") and "∂L/∂p" in t for t in texts)
    assert not any("∂L/∂y" in t for t in texts)
    assert ("xmlns" in drawn) is alone
    assert ("prefers-color-scheme" in drawn) is alone


def test_shapes_in_words() -> None:
    program = program_of("softmax_loss")
    assert shape_text(program.inputs[0]) == "N × K"
    assert shape_text(program.outputs[0]) == "scalar"
