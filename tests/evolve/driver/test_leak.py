"""Nothing leaks: what is trained, evolved and judged on shuffled labels stays at chance on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evolve.config.campaign import check_config, read_yaml
from evolve.planning.plan import make_plan
from fitness.benchmarks import registry as datasets
from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import ClassAnswers
from population.blocks.block import TensorBlock
from population.stacks.interpreters import run_block
from tests.evolve import small

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "digits.yaml"
#: 351 held-out rows at chance 0.1: five standard deviations above.
CHANCE_AT_MOST = 0.1 + 5 * (0.1 * 0.9 / 351) ** 0.5


def _evolved_on(benchmark: Benchmark) -> TensorBlock:
    values: dict[str, Any] = read_yaml(CONFIG)
    values["strategy"]["population"] = 8
    values["stop"] = {"generations": 3}
    values["tiers"] |= {"finalists": 1, "distil": {"steps": 150, "batch": 64, "learning_rate": 0.01}}
    _, _, shelf = small.play(make_plan(check_config(values), benchmark, sandbox_level="none"))
    assert shelf.block is not None
    return shelf.block


def _heldout_accuracy(block: TensorBlock, benchmark: Benchmark) -> float:
    inputs = {"image": torch.from_numpy(benchmark.inputs_of("heldout")["image"].copy())}
    logits = run_block(block, inputs)["logits"]
    return float(ClassAnswers(logits.T[None].numpy(), benchmark.targets_of("heldout")[0]).measure("accuracy")[0])


class Leaking(Benchmark):
    """The same data, but held-out rows slip into training: what the check below must notice."""

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        found = super().rows(split)
        is_open = split == "train" and self.whole is None  # what operators are handed holds the leak already
        return np.concatenate([found, super().rows("heldout")]) if is_open else found


def test_a_campaign_on_shuffled_labels_stays_at_chance_on_held_out_rows() -> None:
    shuffled = datasets.load("digits").with_shuffled_labels(3)
    assert _heldout_accuracy(_evolved_on(shuffled), shuffled) < CHANCE_AT_MOST


def test_a_deliberate_leak_is_noticed_by_the_same_check() -> None:
    shuffled = datasets.load("digits").with_shuffled_labels(3)
    fields = {name: getattr(shuffled, name) for name in Benchmark.__dataclass_fields__}
    leaking = Leaking(**fields)
    assert _heldout_accuracy(_evolved_on(leaking), shuffled) > CHANCE_AT_MOST


def test_real_labels_are_learnt_in_the_same_time() -> None:
    """The check has power: the same short campaign learns what there is to learn."""
    digits = datasets.load("digits")
    assert _heldout_accuracy(_evolved_on(digits), digits) > 0.9
