"""CartPole-v1 by evosax with gymnax: one process, timed from its first line. Run with a Python that has both installed.

    python rival.py ALGORITHM HIDDEN SEED      prints one JSON object

A generation is asked, played and told with compiled functions. When the best of a generation reaches 495 on its 16 training
episodes it plays 16 held-out ones; the search ends when those reach a mean of 475.
"""

# ruff: noqa: E402 - the clock starts before the libraries are imported
from __future__ import annotations

import time

BEGAN = time.perf_counter()

import json
import sys
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
from evosax import algorithms
from evosax.problems import MLP, GymnaxProblem

EPISODES, POPULATION, GENERATIONS = 16, 64, 100
TRAIN_TARGET, HELDOUT_TARGET = 495.0, 475.0
PACKAGES = ("evosax", "gymnax", "jax", "jaxlib", "flax", "numpy")


def largest(answers: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """The action of the larger number."""
    return jnp.argmax(answers, axis=-1)


def search(name: str, hidden: int, seed: int) -> dict[str, object]:
    imported = time.perf_counter()
    layers = (hidden, 2) if hidden else (2,)
    policy = MLP(layer_sizes=layers, output_fn=largest, activation=jax.nn.relu)
    problem = GymnaxProblem("CartPole-v1", policy, num_rollouts=EPISODES, use_normalize_obs=False)
    key = jax.random.key(seed)
    key, first, second, third = jax.random.split(key, 4)
    example = problem.sample(first)
    algorithm = getattr(algorithms, name)(population_size=POPULATION, solution=example)
    params = algorithm.default_params
    state_of_problem = problem.init(second)
    if hasattr(algorithm, "get_mean"):
        state = algorithm.init(third, example, params)
    else:
        keys = jax.random.split(third, POPULATION)
        members = jax.vmap(problem.sample)(keys)
        fitness = -problem.eval(first, members, state_of_problem)[0]
        state = algorithm.init(third, members, fitness, params)
    heldout, durations = float("nan"), []
    for _ in range(GENERATIONS):
        began = time.perf_counter()
        key, asked, played, told = jax.random.split(key, 4)
        population, state = algorithm.ask(asked, state, params)
        returns, state_of_problem, _ = problem.eval(played, population, state_of_problem)
        state, _ = algorithm.tell(told, population, -returns, state, params)
        best = int(jnp.argmax(returns))
        if float(returns[best]) >= TRAIN_TARGET:
            whole = jax.tree.map(lambda x, best=best: jnp.broadcast_to(x[best], x.shape), population)
            heldout = float(problem.eval(jax.random.key(10_000 + seed), whole, state_of_problem)[0][0])
        durations.append(time.perf_counter() - began)
        if heldout >= HELDOUT_TARGET:
            break
    steady = float(np.median(durations[1:])) if len(durations) > 1 else None
    total = time.perf_counter() - BEGAN
    computing = steady * len(durations) if steady is not None else None
    return {
        "algorithm": name,
        "hidden": hidden,
        "seed": seed,
        "generations": len(durations),
        "heldout": heldout,
        "import_s": imported - BEGAN,
        "total_s": total,
        "generation_s": steady,
        "compiling_s": None if computing is None else total - (imported - BEGAN) - computing,
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    print(json.dumps(search(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
