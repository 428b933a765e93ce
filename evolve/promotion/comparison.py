"""How a model that came in and the champion that came of it compare on held-out rows, as the gate saw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from population.blocks.block import TensorBlock, load_block
from population.stacks.tiers import WIDEST

if TYPE_CHECKING:
    from evolve.home.home import Home
    from evolve.promotion.promote import Decision


#: Objectives that say what a block costs, which is told beside its scores.
COSTS = ("bytes", "flops")


def comparison(home: Home, block: str, decision: Decision) -> list[dict[str, Any]]:
    """Returns what a model and each tier of a champion reach and cost, as the gate saw them: one entry each, the model first.

    Where another block stood under the name, the gate compared with that one: it follows the model, which has no scores then.
    """
    store = home.block_store()
    model, better, before = load_block(store, block), load_block(store, decision.block), decision.compared_with
    scores, flops = decision.heldout_of_standing.get(WIDEST, {}), model.flops()
    entries = [_entry("model", model, WIDEST, scores if before == block else {}, flops)]
    if before not in ("", block) and store.has(before):
        entries.append(_entry("head before", load_block(store, before), WIDEST, scores, flops))
    tiers = reversed(better.tier_names)
    return [*entries, *(_entry(tier, better, tier, decision.heldout.get(tier, {}), flops) for tier in tiers)]


def _entry(name: str, block: TensorBlock, tier: str, scores: Mapping[str, float], flops: int) -> dict[str, Any]:
    numbers = sum(tensor.numel() for tensor in block.tensors_of(tier).values())
    own = block.flops(tier)
    told = {metric: value for metric, value in scores.items() if metric not in COSTS}
    return {"what": name, "heldout": told, "flops": own, "share": own / max(flops, 1), "parameters": numbers}
