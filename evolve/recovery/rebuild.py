"""Makes individuals again from their pedigrees, and checks that they are what was judged.

Nouns: *pedigree* (an individual, its ancestors and their recipes, as the lineage holds them), *record* (one birth of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from evolve import operators
from evolve.home.origins import leaf_named
from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, settings_value
from evolve.recipes.work_units import Tiers, cut_batch
from evolve.recovery.forked_plan import plan_of
from evolve.recovery.remaker import Remaker
from population.errors import EvaluatorFailed, JailUnavailable, LineageCorrupt, NotFound
from population.lineage.format.records import Births, Commit
from population.stacks.row_format import encode_rows

if TYPE_CHECKING:
    from evolve.home.home import Home

#: Returns the bytes of a stored row by its weights digest, or None where the store has none.
StoredRow = Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Record:
    """One birth as the lineage holds it.

    Attributes:
        recipe: None where the row itself is kept in the store. fitness: the leading objective, signed, mean over tiers.
        objects: bytes that the recipe reads, where they are known; the recorded scores of the lineage hold them too.
    """

    event: int
    individual: str
    recipe: Recipe | None
    digest: bytes | None
    fitness: float
    objects: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def known_recipe(self) -> Recipe:
        """The recipe. Raises NotFound where it is not known and the row is not in the store either."""
        if self.recipe is None:
            raise NotFound(f"event {self.event} was kept in the store, and is not there any more")
        return self.recipe


@dataclass(frozen=True)
class Rebuilt:
    """What came of a rebuild. rows: digest as recorded -> bytes made again; steps: births made on the way."""

    rows: Mapping[int, bytes]
    digests: Mapping[int, bytes]
    steps: int


def read_records(plan: Plan, commits: Iterable[Commit]) -> dict[int, Record]:
    """Returns every birth of a campaign by event number. Raises LineageCorrupt where a parent is unknown."""
    founders = plan.origin.founders if plan.origin else ()
    places = {founder.individual: -place - 1 for place, founder in enumerate(founders)}
    found: dict[int, Record] = {}
    for commit in commits:
        for births in commit.births:
            places.update(zip(births.individual, (int(event) for event in births.event), strict=True))
            fitness = _fitness(plan, births)
            for row in range(len(births.event)):
                record = _record(births, row, places, float(fitness[row]))
                found[record.event] = record
    return found


def _record(births: Births, row: int, places: Mapping[str, int], fitness: float) -> Record:
    try:
        recipe = Recipe.of_birth(births, row, places)
    except KeyError as error:
        raise LineageCorrupt(
            f"individual {births.individual[row]}: its parent {error} is not in the lineage"
        ) from error
    digest = births.weights_digest[row]
    return Record(
        int(births.event[row]), births.individual[row], recipe, bytes.fromhex(digest) if digest else None, fitness
    )


def _fitness(plan: Plan, births: Births) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns the leading objective, signed, mean over tiers, as the campaign told it to its strategy."""
    names = [objective.name for objective in plan.benchmark.objectives]
    lead = plan.columns[0]
    sign = 1.0 if plan.benchmark.objectives[lead].direction == "max" else -1.0
    columns = births.scores.reshape(len(births.event), len(births.tiers), len(names))[:, :, lead] * sign
    total = sum((columns[:, tier] for tier in range(columns.shape[1])), np.zeros(len(columns)))
    return np.asarray(total / columns.shape[1])


def rebuild_rows(
    plan: Plan, records: Mapping[int, Record], wanted: Sequence[int], stored: StoredRow | None = None
) -> Rebuilt:
    """Returns the rows of these events, made again from their recipes; a plugin's code takes part in a jail only.

    Args:
        stored: where given, a stored row (a keyframe) stands for everything above it.

    Raises:
        NotFound: an event has no record. EvaluatorFailed: a plugin's code fails, or has no jail. ConfigError: the jail is
            not what the campaign's config accepts.
    """
    missing = [event for event in wanted if event not in records]
    if missing:
        raise NotFound(f"events {missing[:3]} are not in the lineage of this campaign")
    rows: dict[int, bytes] = {}
    order = _needed(records, wanted, rows, stored, plan.origin.row if plan.origin else None)
    with closing(Remaker(plan)) as remaker:
        for level in _levels(records, order):
            _make_level(plan, remaker, records, level, rows)
    digests = {event: blake3(row).digest() for event, row in rows.items()}
    return Rebuilt({event: rows[event] for event in wanted}, {event: digests[event] for event in wanted}, len(order))


def _needed(
    records: Mapping[int, Record],
    wanted: Sequence[int],
    rows: dict[int, bytes],
    stored: StoredRow | None,
    founder: Callable[[int], bytes] | None = None,
) -> list[int]:
    """Returns the events to make, ascending; fills ``rows`` with what the store already has."""
    needed: set[int] = set()
    stack = list(wanted)
    while stack:
        event = stack.pop()
        if event in needed or event in rows:
            continue
        if event < 0 and founder is not None:
            rows[event] = founder(event)
            continue
        record = records[event]
        row = stored(record.digest) if stored is not None and record.digest is not None else None
        if row is not None:
            rows[event] = row
            continue
        needed.add(event)
        stack.extend(record.known_recipe.parents)
    return sorted(needed)


def _levels(records: Mapping[int, Record], order: Sequence[int]) -> list[list[int]]:
    """Returns the events cut into levels, so that no event stands in a level with its own ancestor."""
    depth: dict[int, int] = {}
    levels: dict[int, list[int]] = {}
    for event in order:
        above = [depth[parent] for parent in records[event].known_recipe.parents if parent in depth]
        depth[event] = 1 + max(above, default=0)
        levels.setdefault(depth[event], []).append(event)
    return [levels[level] for level in sorted(levels)]


def _make_level(
    plan: Plan, remaker: Remaker, records: Mapping[int, Record], events: Sequence[int], rows: dict[int, bytes]
) -> None:
    recipes = tuple(records[event].known_recipe for event in events)
    objects = {blake3(row).digest(): row for row in (rows[p] for recipe in recipes for p in recipe.parents)}
    digests = {parent: blake3(rows[parent]).digest() for recipe in recipes for parent in recipe.parents}
    for event in events:
        objects |= records[event].objects or _inputs(plan, records, records[event].known_recipe)
    batch = Batch(0, recipes)
    tiers: list[Tiers] = [{"ultimate": {}}] * len(recipes)
    positions = range(len(recipes))
    for cut in cut_batch(batch, tiers, positions, digests, plan.graph.to_value(), plan.kernel.candidates, 0):
        made = remaker.make(cut.unit, objects.__getitem__)
        for position, data in zip(cut.positions, encode_rows(made), strict=True):
            rows[events[position]] = data


def _inputs(plan: Plan, records: Mapping[int, Record], recipe: Recipe) -> dict[bytes, bytes]:
    """Returns the recorded score vector that an update reads, from the scores in the lineage."""
    if operators.get(recipe.operator).reads_training or not recipe.inputs:
        return {}
    first = settings_value(recipe.settings)["first_event"]
    scores: list[float] = []
    while first + len(scores) in records and records[first + len(scores)].known_recipe.operator == "perturb@1":
        if records[first + len(scores)].known_recipe.parents != recipe.parents:
            break
        scores.append(records[first + len(scores)].fitness)
    data = np.array(scores, dtype="<f8").tobytes()
    if blake3(data).digest() != recipe.inputs[0]:
        raise LineageCorrupt(f"the scores from event {first} on are not those that {recipe.operator} read")
    return {recipe.inputs[0]: data}


def rebuild(home: Home, individual: str) -> dict[str, Any]:
    """Returns what came of making an individual again from its whole pedigree: ``id, rebuilt, same, steps, reason, leaves``.

    ``same`` is None, with a reason, where it cannot be said: data that changed or is missing, another environment. A pedigree
    that ends with what has no row in this home (an imported model, a purged campaign) is made again from there, by the rows
    in the store; ``leaves`` names these ancestors.

    Raises:
        NotFound: no individual and no ancestor of one is called so. DamageError: a row in the store is damaged.
    """
    born = _birth_of(home, individual)
    if born is not None:
        return {"id": individual, "campaign": born[0], **_rebuild_in(home, *born)}
    leaf = leaf_named(home, individual)
    if leaf is None:
        raise NotFound(
            f"no campaign in {home.root} has an individual {individual!r}; the view `individuals` lists them all"
        )
    return {"id": individual, "campaign": leaf.campaign, **_undecided(f"{leaf}: no recipe of it is here")}


def _birth_of(home: Home, individual: str) -> tuple[str, list[Commit], int] | None:
    """Returns the campaign that an individual was born in, its commits, and the event; None where no campaign here has it."""
    reader = home.lineage_reader()
    there = reader.handles()
    for handle in (name for name in home.campaigns() if name in there):
        commits = list(reader.commits(handle))
        births = next((b for commit in commits for b in commit.births if individual in b.individual), None)
        if births is not None:
            return handle, commits, int(births.event[list(births.individual).index(individual)])
    return None


def _rebuild_in(home: Home, handle: str, commits: Sequence[Commit], event: int) -> dict[str, Any]:
    plan = plan_of(home, handle)
    begun = commits[0].rows["campaigns"][0]
    if begun["campaign_key"] != plan.key.hex():
        return _undecided("the config beside the campaign is not the one it was begun with")
    records = read_records(plan, commits)
    if records[event].digest is None:
        return _undecided("it was never materialised: its recipe failed, see the view `quarantine`")
    founders: dict[int, bytes] = {}
    try:
        pedigree = _needed(records, [event], founders, None, plan.origin.row if plan.origin else None)
    except NotFound as error:
        return _undecided(str(error))
    changed = [e for e in pedigree if _reads_changed_data(plan, records[e].known_recipe)]
    if changed:
        return _undecided(f"the training rows that event {changed[0]} read are not the ones this machine has")
    recorded = str(begun["environment"])
    is_portable = all(operators.get(records[e].known_recipe.operator).is_portable for e in pedigree)
    try:
        rebuilt = rebuild_rows(plan, records, [event])
    except JailUnavailable:
        raise
    except EvaluatorFailed as error:
        return _undecided(str(error))
    digest, wanted = rebuilt.digests[event], records[event].digest
    reason = ""
    same: bool | None = digest == wanted
    if not same and recorded != plan.environment and not is_portable:
        same, reason = None, f"another environment: recorded {recorded}, here {plan.environment}"
    found: dict[str, Any] = {"rebuilt": digest.hex(), "same": same, "steps": rebuilt.steps, "reason": reason}
    found["leaves"] = []
    return _with_founders(home, plan, sorted(founders), found)


def _with_founders(home: Home, plan: Plan, founders: Sequence[int], found: dict[str, Any]) -> dict[str, Any]:
    """Returns what came of a rebuild after each founder was rebuilt too, in the campaign that it was born in.

    Those that have no row in this home are leaves: they were taken as they lie in the store, checked by their digests.
    """
    for event in founders:
        name = plan.individual(event)
        born = _birth_of(home, name)
        if born is None:
            leaf = {"individual": name, "what": str(leaf_named(home, name))}
            found = {**found, "leaves": [*found["leaves"], leaf]}
            continue
        above: dict[str, Any] = {"id": name, **_rebuild_in(home, *born)}
        leaves = [*found["leaves"], *(each for each in above["leaves"] if each not in found["leaves"])]
        found = {**found, "steps": found["steps"] + above["steps"], "leaves": leaves}
        if found["same"] and not above["same"]:
            found |= {
                "same": above["same"],
                "reason": f"its ancestor {above['id']}: {above['reason'] or 'not the same'}",
            }
    return found


def _reads_changed_data(plan: Plan, recipe: Recipe) -> bool:
    reads = operators.get(recipe.operator).reads_training
    return reads and recipe.inputs != (plan.benchmark.digest("train"),)


def _undecided(reason: str) -> dict[str, Any]:
    return {"rebuilt": None, "same": None, "steps": 0, "reason": reason, "leaves": []}
