"""The contract of operators, run on every registered one, and laws of single ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import operators
from evolve.operators import Making, Operator
from evolve.operators.evolution_strategy import centred_ranks, pair_seed
from evolve.operators.gaussian import entropies
from evolve.operators.registry import apply_checked, check_settings
from evolve.recipes.recipe import canonical_settings
from population.errors import ConfigError, NotFound
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_stack
from population.stacks.row_format import row_digests
from population.stacks.stack import Stack
from population.stacks.tiers import slice_stack
from tests.evolve import small

ROOT = Path(__file__).resolve().parents[3]
GOLDENS = ROOT / "tests" / "goldens" / "operators.json"
GRAPH = OpGraph.from_value(small.values()["graph"])
BENCHMARK = small.rows()
KEYS = operators.keys()
SEEDS = (11, 2**64 - 1, 7, 0)
SCORES = np.array([0.3, 0.1, float("nan"), 0.9], dtype="<f8").tobytes()


def parents(count: int = 4) -> Stack:
    """Returns parents of both widths, one after the other."""
    init = operators.get("init@1")
    making = Making(GRAPH, (), tuple(range(100, 100 + count)))
    wide = apply_checked(init, making, canonical_settings({}))
    narrow = apply_checked(init, making, canonical_settings({"widths": {"hidden": 8}}))
    return Stack.concat([wide, narrow]).gather([row + count * (row % 2) for row in range(count)])


def settings_of(operator: Operator, parent: Stack) -> str:
    """Returns usable settings of any shipped operator."""
    found: dict[str, Any] = {
        "entropy": {"entropies": dict.fromkeys(parent.tensors, 1.5)},
        "burst": {"steps": 3, "batch": 16},
        "distil": {"steps": 3, "batch": 16, "tiers": {"lite": {"hidden": 8}, "ultimate": {"hidden": 16}}},
        "perturb": {"std": 0.1, "sign": -1},
        "openai_es": {"std": 0.1, "learning_rate": 0.01, "noise": 5, "first_event": 0},
    }.get(operator.name, {})
    return canonical_settings(check_settings(operator, found).model_dump(mode="json"))


def children(key: str, rows: list[int] | None = None) -> Stack:
    """Returns the children of some of four parents (and four mates), each by its own seed."""
    operator = operators.get(key)
    pool = parents()
    if key in ("distil@1", "perturb@1", "openai_es@1"):
        pool = pool.gather([0, 2, 0, 2])  # these work on rows of one width
    chosen = list(range(4)) if rows is None else rows
    stacks = tuple(pool.gather([(row + shift) % 4 for row in chosen]) for shift in range(operator.num_parents))
    making = Making(GRAPH, stacks, tuple(SEEDS[row] for row in chosen), BENCHMARK, (SCORES,))
    return apply_checked(operator, making, settings_of(operator, pool))


@pytest.mark.parametrize("key", KEYS)
def test_a_child_does_not_depend_on_its_slot_or_neighbours(key: str) -> None:
    together = row_digests(children(key))
    assert [row_digests(children(key, [row]))[0] for row in range(4)] == together
    assert row_digests(children(key, [3, 1, 1, 0, 2, 3, 3])) == [together[row] for row in (3, 1, 1, 0, 2, 3, 3)]


@pytest.mark.parametrize("key", KEYS)
def test_parents_are_not_modified_and_shapes_are_kept(key: str) -> None:
    operator = operators.get(key)
    pool = parents().gather([0, 2])
    before = row_digests(pool)
    making = Making(GRAPH, (pool,) * operator.num_parents, SEEDS[:2], BENCHMARK, (SCORES,))
    made = apply_checked(operator, making, settings_of(operator, pool))
    assert row_digests(pool) == before
    assert {name: tensor.shape for name, tensor in made.tensors.items()} == {
        n: t.shape for n, t in pool.tensors.items()
    }
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.tensors.values())


@pytest.mark.parametrize("key", KEYS)
def test_dead_entries_of_narrow_children_stay_zero(key: str) -> None:
    made = children(key)
    for name, mask in made.live_masks().items():
        assert bool((made.tensors[name][~mask] == 0).all())


@pytest.mark.parametrize("key", [key for key in KEYS if operators.get(key).draws])
def test_another_seed_makes_another_child(key: str) -> None:
    operator = operators.get(key)
    pool = parents().gather([0, 0])
    mates = parents().gather([2, 2])
    making = Making(GRAPH, (pool, mates)[: operator.num_parents], (1, 2), BENCHMARK, (SCORES,))
    first, second = row_digests(apply_checked(operator, making, settings_of(operator, pool)))
    assert first != second


@pytest.mark.parametrize("key", KEYS)
def test_counted_cost_is_positive_and_grows_with_the_graph(key: str) -> None:
    operator = operators.get(key)
    typed = check_settings(operator, json.loads(settings_of(operator, parents())))
    assert 0 < operator.cost(1000, 100, typed) <= operator.cost(2000, 200, typed)


@pytest.mark.parametrize("key", KEYS)
def test_unknown_settings_are_refused_by_name(key: str) -> None:
    usable = json.loads(settings_of(operators.get(key), parents()))
    with pytest.raises(ConfigError, match="nonsense"):
        check_settings(operators.get(key), {**usable, "nonsense": 1})


@pytest.mark.parametrize("key", [key for key in KEYS if operators.get(key).is_portable])
def test_the_bits_of_portable_operators_are_pinned(key: str, regen_goldens: bool) -> None:
    """Equal on every machine: a changed digest means a changed operator, which wants a new version."""
    found = _fingerprint(key)
    goldens = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}
    if regen_goldens:
        GOLDENS.write_text(json.dumps({**goldens, key: found}, indent=1, sort_keys=True) + "\n")
    else:
        assert goldens[key] == found


def _fingerprint(key: str) -> str:
    return blake3(b"".join(row_digests(children(key)))).hexdigest()


def test_portable_operators_have_the_same_bits_on_other_instruction_sets() -> None:
    """ATen's kernels and the BLAS paths are both switched: neither may touch a portable operator."""
    script = "import sys, json; sys.path.insert(0, '.'); from tests.evolve.operators import test_operators as t; " + (
        "print(json.dumps({k: t._fingerprint(k) for k in t.KEYS if t.operators.get(k).is_portable}))"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {key: _fingerprint(key) for key in KEYS if operators.get(key).is_portable}


@given(st.sampled_from(["uniform@1", "layerwise@1"]), st.integers(0, 2**64 - 1))
@settings(max_examples=20)
def test_crossover_of_a_block_with_itself_returns_it(key: str, seed: int) -> None:
    pool = parents().gather([0])
    made = apply_checked(operators.get(key), Making(GRAPH, (pool, pool), (seed,)), canonical_settings({}))
    assert row_digests(made) == row_digests(pool)


@given(st.sampled_from(["uniform@1", "layerwise@1"]), st.integers(0, 2**64 - 1))
@settings(max_examples=20)
def test_mate_rate_0_is_identity_and_1_is_the_mate(key: str, seed: int) -> None:
    pool, mate = parents().gather([0]), parents().gather([2])
    making = Making(GRAPH, (pool, mate), (seed,))
    assert row_digests(apply_checked(operators.get(key), making, canonical_settings({"mate_rate": 0}))) == row_digests(
        pool
    )
    assert row_digests(apply_checked(operators.get(key), making, canonical_settings({"mate_rate": 1}))) == row_digests(
        mate
    )


def test_layerwise_crossover_takes_nodes_whole() -> None:
    made = apply_checked(
        operators.get("layerwise@1"),
        Making(GRAPH, (parents().gather([0] * 8), parents().gather([2] * 8)), tuple(range(8))),
        canonical_settings({}),
    )
    ours, theirs = parents().gather([0]), parents().gather([2])
    for row in range(8):
        for node in ("fc", "head"):
            sources = {
                name: "ours" if torch.equal(made.tensors[name][row], ours.tensors[name][0]) else "theirs"
                for name in (f"{node}.weight",)
            }
            source = ours if sources[f"{node}.weight"] == "ours" else theirs
            assert torch.equal(made.tensors[f"{node}.bias"][row], source.tensors[f"{node}.bias"][0])


def test_the_mean_of_equal_weights_lies_in_the_middle() -> None:
    pool, mate = parents().gather([0]), parents().gather([2])
    made = apply_checked(
        operators.get("mean@1"), Making(GRAPH, (pool, mate), (0,)), canonical_settings({"weight": 0.5})
    )
    for name, tensor in made.tensors.items():
        assert torch.allclose(tensor, (pool.tensors[name] + mate.tensors[name]) / 2)


def test_a_gaussian_step_has_the_deviation_that_was_asked_for() -> None:
    pool = parents().gather([0] * 32)
    made = apply_checked(
        operators.get("gaussian@1"), Making(GRAPH, (pool,), tuple(range(32))), canonical_settings({"rate": 0.3})
    )
    steps = torch.cat([(made.tensors[name] - pool.tensors[name]).flatten() for name in pool.tensors])
    assert float(steps.std()) == pytest.approx(0.3, rel=0.05)


def test_a_self_adapted_rate_is_inherited_and_moves_by_its_factor() -> None:
    operator = operators.get("self_adapted@1")
    text = canonical_settings({"rate": 0.1, "factor": 2.0})
    child = apply_checked(operator, Making(GRAPH, (parents().gather([0]),), (3,)), text)
    grandchild = apply_checked(operator, Making(GRAPH, (child,), (4,)), text)
    first, second = float(child.state["rate"][0]), float(grandchild.state["rate"][0])
    assert first in (pytest.approx(0.2), pytest.approx(0.05))
    assert second / first in (pytest.approx(2.0), pytest.approx(0.5))


def test_entropy_2_scales_its_rate_with_entropy_and_entropy_1_stands_at_high() -> None:
    pool = parents().gather([0] * 16)
    found = entropies(pool, 0)
    assert all(0 <= value <= np.log(10) + 1e-12 for value in found.values())
    assert found["fc.weight"] > 1.5  # normal weights
    assert found["fc.bias"] == 0.0  # biases that are all zero
    settings_text = canonical_settings({"low": 0.01, "high": 0.05, "entropies": found})
    second = apply_checked(operators.get("entropy@2"), Making(GRAPH, (pool,), tuple(range(16))), settings_text)
    first = apply_checked(operators.get("entropy@1"), Making(GRAPH, (pool,), tuple(range(16))), settings_text)
    expected = 0.01 + 0.04 * found["fc.weight"] / np.log(10)
    assert float((second.tensors["fc.weight"] - pool.tensors["fc.weight"]).std()) == pytest.approx(expected, rel=0.1)
    assert float((second.tensors["fc.bias"] - pool.tensors["fc.bias"]).std()) == pytest.approx(0.01, rel=0.2)
    drifted = pool.tensors["fc.weight"] * (1 + 0.1 * 0.05)
    assert float((first.tensors["fc.weight"] - drifted).std()) == pytest.approx(0.05, rel=0.1)


def test_a_burst_lowers_the_loss_on_training_rows() -> None:
    operator = operators.get("burst@1")
    pool = parents()
    text = canonical_settings(
        check_settings(operator, {"steps": 60, "batch": 64, "learning_rate": 0.01}).model_dump(mode="json")
    )
    trained = apply_checked(operator, Making(GRAPH, (pool,), SEEDS, BENCHMARK), text)
    assert (_loss(trained) < 0.7 * _loss(pool)).all()


def _loss(stack: Stack) -> torch.Tensor:
    inputs = torch.from_numpy(BENCHMARK.inputs_of("train")["input"][:128].copy()).T[None]
    targets = torch.from_numpy(BENCHMARK.targets_of("train")[0][:128])
    logits = run_stack(stack, {"input": inputs})["logits"]
    picked = torch.log_softmax(logits, dim=1).gather(1, targets[None, None].expand(stack.num_rows, 1, -1))
    return -picked.mean(dim=(1, 2))


def test_distilling_trains_every_tier() -> None:
    operator = operators.get("distil@1")
    pool = parents().gather([0])
    values = {
        "steps": 150,
        "batch": 64,
        "learning_rate": 0.01,
        "tiers": {"lite": {"hidden": 8}, "ultimate": {"hidden": 16}},
    }
    text = canonical_settings(check_settings(operator, values).model_dump(mode="json"))
    trained = apply_checked(operator, Making(GRAPH, (pool,), (1,), BENCHMARK), text)
    for tier, width in (("lite", 8), ("ultimate", 16)):
        before = _loss(slice_stack(pool, {"hidden": width}, tier))
        assert float(_loss(slice_stack(trained, {"hidden": width}, tier))) < 0.5 * float(before)


def test_halves_of_a_mirrored_pair_lie_opposite_around_the_centre() -> None:
    centre = parents().gather([0])
    seed = pair_seed(9, 0)
    up, down = (
        apply_checked(
            operators.get("perturb@1"), Making(GRAPH, (centre,), (seed,)), canonical_settings({"std": 0.5, "sign": s})
        )
        for s in (1, -1)
    )
    for name, tensor in centre.tensors.items():
        assert torch.allclose((up.tensors[name] + down.tensors[name]) / 2, tensor, atol=1e-6)


def test_centred_ranks_share_ties_put_nan_last_and_sum_to_zero() -> None:
    ranks = centred_ranks(np.array([1.0, np.nan, 3.0, 1.0]))
    assert ranks.tolist() == pytest.approx([0.0, -0.5, 0.5, 0.0])
    assert float(ranks.sum()) == pytest.approx(0.0)


def test_an_update_follows_the_fitness_uphill() -> None:
    centre = parents().gather([0])
    noise = 21
    texts = [canonical_settings({"std": 0.1, "sign": sign}) for sign in (1, -1)]
    seeds = [pair_seed(noise, index // 2) for index in range(64)]
    perturb = operators.get("perturb@1")
    stacks = [apply_checked(perturb, Making(GRAPH, (centre,), (s,)), texts[i % 2]) for i, s in enumerate(seeds)]
    wish = torch.ones_like(centre.tensors["head.bias"][0])
    fitness = np.array([float((s.tensors["head.bias"][0] * wish).sum()) for s in stacks], dtype="<f8")
    text = canonical_settings({"std": 0.1, "learning_rate": 0.05, "noise": noise, "first_event": 0})
    moved = apply_checked(
        operators.get("openai_es@1"), Making(GRAPH, (centre,), (0,), None, (fitness.tobytes(),)), text
    )
    assert bool((moved.tensors["head.bias"] > centre.tensors["head.bias"]).all())
    assert float(moved.state["adam.t"][0]) == 1.0


def test_an_unknown_operator_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="did you mean 'gaussian"):
        operators.get("gausian")
