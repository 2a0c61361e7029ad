"""The verifier verified: every way to spoil a line of a true derivation must be caught.

A spoiled line that passes must be equal to the true one; that is decided by a second evaluator
(`tests.interpreter`, on PyTorch scalars with autograd's adjoints) at other sizes and other values,
never by assumption.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chalkgrad.derivation import Stage, Step
from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import ONE, Access, Index, Indicator, Mul, Size, Sum
from chalkgrad.expr.ops import free_indices
from chalkgrad.verify.steps import Claim, Judge, claims_of, verify
from tests.corruptions import corruptions
from tests.interpreter import interpret
from tests.verify.programs import (
    DERIVATIONS,
    GELU,
    TWO_LAYER,
    L,
    W,
    affine_derivation,
    at,
    chain,
    d,
    f,
    i,
    j,
    k,
    record,
    softmax_derivation,
    softmax_loss_derivation,
    x,
)

MINIMUM = {"affine": 800, "softmax": 400, "softmax_loss": 300, "batch_norm": 600, "quadratic": 150}
FORWARD = {"two_layer": 80, "gelu": 5}


def forward_only(program):
    """The record of a forward pass: its definitions, no gradients."""
    stages = tuple(chain(q.access, (q.body, "definition"), kind="definition") for q in program.definitions)
    return record(program, stages, ())


def spoiled(derived):
    """Each (description, claim with a spoiled line), every distinct one once."""
    seen = set()
    for claim in claims_of(derived):
        for what, wrong in corruptions(claim.after):
            if (claim.before, wrong) not in seen and wrong is not claim.before:
                seen.add((claim.before, wrong))
                yield what, Claim(claim.stage, claim.rule, claim.before, wrong)


def far_away(derived, seed=77):
    """The second evaluator at larger sizes, with values of another scale."""
    program = derived.program
    rng = np.random.default_rng(seed)
    sizes = {r: int(n) for r, n in zip(program.ranges(), rng.permutation([3, 4, 5]), strict=False)}
    inputs = {t: torch.tensor(0.3, dtype=torch.float64) for t, _ in program.parameters}
    for t in program.inputs:
        shape = [sizes[r] for r in t.axes]
        drawn = rng.integers(3, size=shape) if t.dtype == "int" else 0.6 * rng.normal(size=shape) - 0.9
        inputs[t] = torch.tensor(drawn)
    shapes = {t: [sizes[r] for r in t.axes] for t in program.outputs}
    upstream = {t: torch.tensor(rng.normal(size=s) if s else 1.0).double() for t, s in shapes.items()}
    return interpret(program, sizes, inputs, upstream)


def equal_there(claim, interpreter):
    indices = tuple(sorted(free_indices(claim.before) | free_indices(claim.after), key=lambda n: n.name))
    one, two = interpreter.array(claim.before, indices), interpreter.array(claim.after, indices)
    return torch.allclose(one, two, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", DERIVATIONS, ids=lambda m: m.__name__)
def test_every_corruption_is_caught(make):
    derived = make()
    assert caught_in(derived) >= MINIMUM[derived.program.name]


@pytest.mark.parametrize("program", [TWO_LAYER, GELU], ids=lambda p: p.name)
def test_every_corruption_of_a_definition_is_caught(program):
    assert caught_in(forward_only(program)) >= FORWARD[program.name]


def caught_in(derived):
    """How many corruptions were refuted, all others being equal to the true line."""
    judges = [Judge.at(derived, seed) for seed in (0, 1)]
    interpreter = far_away(derived)
    caught, equal, missed = 0, [], []
    for what, claim in spoiled(derived):
        if any(refuted(judge, claim) for judge in judges):
            caught += 1
        else:
            found = equal if equal_there(claim, interpreter) else missed
            found.append(f"{what}: {claim.before}  =  {claim.after}")
    assert not missed, "\n".join(missed)
    # What is equal after all is rare: 1^2, 1(k == y)^2, a factor dL/dL that is 1, 1/(-1).
    assert len(equal) <= 0.08 * caught + 2, "\n".join(equal)
    return caught


def refuted(judge, claim):
    try:
        judge.check(claim)
    except VerificationError:
        return True
    return False


@pytest.mark.parametrize("make", DERIVATIONS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("seed", [0, 5, 11])
def test_the_true_derivation_passes(make, seed):
    verification = verify(make(), seed=seed, points=2)
    assert verification.ok
    assert verification.worst < 1e-13
    assert f"{len(verification.lines)} lines hold at 2 random points" in str(verification)


@pytest.mark.parametrize("make", DERIVATIONS, ids=lambda m: m.__name__)
def test_the_true_lines_hold_for_the_second_evaluator(make):
    derived = make()
    interpreter = far_away(derived)
    for claim in claims_of(derived):
        assert equal_there(claim, interpreter), f"{claim.before} = {claim.after}"


def with_step(derived, stage_at, step_at, after):
    """The derivation with another line in one place; the line below still starts from the true one."""
    stage = derived.stages[stage_at]
    step = replace(stage.steps[step_at], after=after)
    steps = (*stage.steps[:step_at], step, *stage.steps[step_at + 1 :])
    stages = list(derived.stages)
    stages[stage_at] = replace(stage, steps=steps)
    return replace(derived, stages=tuple(stages))


@pytest.mark.parametrize("make", DERIVATIONS, ids=lambda m: m.__name__)
def test_a_false_line_anywhere_raises_and_names_its_rule_and_stage(make):
    derived = make()
    for stage_at, stage in enumerate(derived.stages):
        for step_at, step in enumerate(stage.steps):
            wrong = step.after + ONE
            with pytest.raises(VerificationError) as caught:
                verify(with_step(derived, stage_at, step_at, wrong))
            assert f"the line by {step.rule} is false" in caught.value.message
            assert stage.title in caught.value.message
            assert str(step.before) in caught.value.message
            assert str(wrong) in caught.value.message


def test_the_worst_entry_is_named_with_both_numbers():
    derived = affine_derivation()
    wrong = Mul((at(x, (i, d)), Indicator("!=", j, k)))
    with pytest.raises(VerificationError, match=r"At d=\d+, i=\d+, j=\d+, k=\d+: \S+ before, \S+ after\."):
        verify(with_step(derived, 1, 2, wrong))


def test_the_slip_of_the_original_derivation():
    # The transcribed notes state x_j where x_i belongs; x's first axis runs over observations.
    derived = affine_derivation()
    slip = Mul((Access(x, (j, d)), Indicator("==", j, k)))
    with pytest.raises(VerificationError, match="contract-indicator"):
        verify(with_step(derived, 1, 2, slip))


def test_a_chain_whose_lines_do_not_follow_each_other():
    derived = affine_derivation()
    stage = derived.stages[2]
    first, second, third = stage.steps
    elsewhere = Step(Mul((second.before, Size(x.axes[0]))), second.after, second.rule, second.because)
    broken = replace(stage, steps=(first, elsewhere, third))
    with pytest.raises(VerificationError, match="the line before local-derivative is false"):
        verify(replace(derived, stages=(broken,)))


def test_a_stage_that_ends_at_a_true_but_other_quantity():
    # Each line follows from the one above; only the first does not follow from the left-hand side.
    derived = affine_derivation()
    true = derived.stages[2]
    wrong = Stage("chain", "dL/dW", Mul((true.lhs, Size(x.axes[0]))), true.steps)
    with pytest.raises(VerificationError, match="the stage begins"):
        verify(replace(derived, stages=(wrong,)))


def test_results_and_backward_definitions_are_compared_with_the_truth():
    derived = softmax_derivation()
    (result,) = derived.results
    wrong = replace(result, rhs=Mul((result.rhs, Size(x.axes[0]))))
    with pytest.raises(VerificationError, match=r"result: the line by dL/ds\[i,j\] is false"):
        verify(replace(derived, results=(wrong,)))
    (definition,) = derived.staged.definitions
    backward = replace(derived.staged, definitions=(replace(definition, body=definition.body + ONE),))
    with pytest.raises(VerificationError, match="staged: the line by"):
        verify(replace(derived, staged=backward))


def test_a_loss_has_the_upstream_gradient_one():
    verification = verify(softmax_loss_derivation())
    assert {line.rule for line in verification.lines} >= {"upstream", "closed"}


def test_an_unknown_tensor_is_an_error_and_not_a_guess():
    derived = affine_derivation()
    ghost = replace(x, name="ghost")
    stage = chain(at(f, (i, k)), (at(ghost, (i, d)), "invent"))
    with pytest.raises(VerificationError, match=r"ghost\[N, D\], which has no value"):
        verify(replace(derived, stages=(stage,)))


def test_corruptions_are_what_they_say():
    e = Sum((i,), Mul((at(x, (i, d)), at(f.adjoint, (i, j)))))
    found = {what for what, _ in corruptions(e)}
    assert {"sum over i left per entry", "sum over i only at 0", "sum over i made a mean"} <= found
    assert {"factor 0 dropped", "factor 1 twice", "sign flipped", "doubled", "squared"} <= found
    assert any("replaced by" in what for what in found)
    assert all(wrong is not e for _, wrong in corruptions(e))
    assert not [w for w in corruptions(at(W, (d, k))) if isinstance(w[1], Index)]


def test_a_name_that_the_derivation_introduces_is_worth_its_definition():
    derived = affine_derivation()
    shifted = replace(f, name="shifted")
    inside = at(f, (i, k)) + ONE
    stages = (
        chain(at(shifted, (i, k)), (inside, "stabilise"), kind="stable"),
        chain(at(shifted, (i, k)) * 2, (inside * 2, "use"), kind="lemma"),
    )
    assert verify(replace(derived, stages=stages)).ok
    wrong = chain(at(shifted, (i, k)) * 2, (inside * 3, "use"), kind="lemma")
    with pytest.raises(VerificationError, match="the line by use is false"):
        verify(replace(derived, stages=(stages[0], wrong)))


def test_the_upstream_gradient_of_a_scalar_is_random_where_it_is_an_argument():
    given = replace(softmax_loss_derivation(), stages=())
    (result,) = given.results
    times = Mul((at(L.adjoint, ()), result.rhs))
    backward = replace(given.staged, definitions=(replace(given.staged.definitions[0], body=times),))
    given = replace(given, staged=backward, closed=backward, chosen=backward, results=())
    assert verify(given).ok
    # At an upstream gradient of 1 a lost factor dL/dL could not be seen.
    with pytest.raises(VerificationError, match="result: the line by"):
        verify(replace(given, results=(result,)))


def test_a_derivative_too_uncertain_to_refute_anything_is_not_a_pass():
    derived = affine_derivation()
    judge = Judge.at(derived, 0)
    blurred = replace(judge.truth, errors=dict.fromkeys(judge.truth.errors, 1.0))
    with pytest.raises(VerificationError, match="too uncertain to judge"):
        Judge(judge.env, blurred).check(next(c for c in claims_of(derived) if c.rule == "chain-rule"))
