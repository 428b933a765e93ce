from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.errors import InputError, InvalidGraph
from population.graphs.exit_gates import COMPARISONS, MEASURES, Condition, ExitGate, Joined, check_gates

LOGITS = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.9, -2.0], [float("nan"), 1.0, 0.0]])
OUTPUTS = {"logits": LOGITS, "boxes": torch.tensor([[[1.0, -1.0]], [[2.0, 3.0]], [[0.0, 0.0]]])}


def asked(when, **request):
    return ExitGate.from_value({"tier": "lite", "when": when}).passes(OUTPUTS, request).tolist()


CONDITIONS = st.builds(
    Condition,
    st.sampled_from(sorted(MEASURES)),
    st.sampled_from(["logits", "boxes"]),
    st.sampled_from(sorted(COMPARISONS)),
    st.one_of(st.floats(-10, 10), st.sampled_from(["$n", "$level"])),
)
RULES = st.recursive(
    CONDITIONS,
    lambda rules: st.builds(
        Joined, st.sampled_from(["all", "any"]), st.lists(rules, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@given(RULES, st.sampled_from([None, "lite", "pro"]))
def test_a_gate_survives_its_plain_value(rule, tier):
    gate = ExitGate(rule, tier, None if tier else "early")
    again = ExitGate.from_value(gate.to_value())
    assert again == gate
    assert again.to_value() == gate.to_value()


@given(RULES)
def test_a_gate_answers_for_each_sample_by_itself(rule):
    gate = ExitGate(rule, "lite")
    request = {"n": 0.5, "level": 1.0}
    whole = gate.passes(OUTPUTS, request)
    assert whole.dtype == torch.bool
    for sample in range(3):
        assert gate.passes({name: value[[sample]] for name, value in OUTPUTS.items()}, request).tolist() == [
            whole[sample]
        ]


@given(RULES, RULES)
def test_all_is_and_and_any_is_or(left, right):
    request = {"n": 0.5, "level": 1.0}
    one, other = left.passes(OUTPUTS, request), right.passes(OUTPUTS, request)
    assert torch.equal(Joined("all", (left, right)).passes(OUTPUTS, request), one & other)
    assert torch.equal(Joined("any", (left, right)).passes(OUTPUTS, request), one | other)


def test_measures_follow_their_formulas_and_nan_passes_nothing():
    share = math.exp(4) / (math.exp(4) + 2)
    assert asked(f"confidence(logits) > {share - 1e-4}") == [True, False, False]
    assert asked(f"confidence(logits) > {share + 1e-4}") == [False, False, False]
    assert asked("margin(logits) >= 0.5") == [True, False, False]
    assert asked("entropy(logits) < 0.5") == [True, False, False]
    assert asked("max(boxes) >= 1") == [True, True, False]
    assert asked("min(boxes) < 0") == [True, False, False]
    assert asked("norm(boxes) <= 1.5") == [True, False, True]
    assert asked("count(boxes) >= $n", n=2) == [False, True, False]


def test_a_request_brings_its_own_values_over_the_defaults():
    gate = ExitGate.from_value({"tier": "lite", "when": "max(boxes) > $level", "defaults": {"level": 2}})
    assert gate.parameters == ("$level",)
    assert gate.passes(OUTPUTS).tolist() == [False, True, False]
    assert gate.passes(OUTPUTS, {"level": 0.5}).tolist() == [True, True, False]


def test_a_missing_value_or_channel_is_named():
    with pytest.raises(InputError, match=r"no value for 'n'"):
        asked("count(boxes) >= $n")
    with pytest.raises(InputError, match=r"'logit' is missing; did you mean 'logits'"):
        asked("max(logit) > 0")
    with pytest.raises(InputError, match=r"must be finite"):
        asked("count(boxes) >= $n", n=math.nan)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"when": "max(y) > 0"}, "name a tier or an output"),
        ({"tier": "lite"}, "expected"),
        ({"tier": "lite", "when": "max y > 0"}, "no condition"),
        ({"tier": "lite", "when": "most(y) > 0"}, "'most'"),
        ({"tier": "lite", "when": "max(y) > nan"}, "finite"),
        ({"tier": "lite", "when": "max(y) > 1e999"}, "finite"),
        ({"tier": "lite", "when": "max(y) == 1"}, "no condition"),
        ({"tier": "lite", "when": "max(y) > 0", "wen": 1}, "'wen'; did you mean 'when'"),
        ({"tier": "lite", "when": {"all": []}}, "expected"),
        ({"tier": "lite", "when": {"none": ["max(y) > 0"]}}, "expected"),
        ({"tier": "lite", "when": "max(y) > 0", "defaults": {"n": 1}}, "'n' is not used"),
        ({"tier": "lite", "when": "max(y) > $n", "defaults": {"n": "1"}}, "finite number"),
        ({"tier": "lite", "when": {"all": [{"all": ["max(y) > 0"] * 60}] * 2}}, "120 conditions"),
        ("max(y) > 0", "expected"),
    ],
    ids=str,
)
def test_what_is_no_gate_is_refused(value, message):
    with pytest.raises(InvalidGraph, match=message):
        ExitGate.from_value(value)


def test_rules_nested_without_end_are_refused():
    rule = "max(y) > 0"
    for _ in range(500):
        rule = {"all": [rule]}
    with pytest.raises(InvalidGraph, match=r"nested deeper"):
        ExitGate.from_value({"tier": "lite", "when": rule})


def test_gates_must_look_at_channels_and_tiers_that_are_there():
    gate = ExitGate.from_value({"tier": "lite", "output": "early", "when": "max(logits) > 0"})
    check_gates([gate], ["logits", "early"], ["lite"])
    with pytest.raises(InvalidGraph, match=r"'early'"):
        check_gates([gate], ["logits"], ["lite"])
    with pytest.raises(InvalidGraph, match=r"no tier 'lite'"):
        check_gates([gate], ["logits", "early"], ["ultimate"])
