"""What plain methods reach on the same rows, to stand honestly beside what evolved."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import Episodes
from fitness.processes.limits import Failure
from population.errors import SimulatorFailed

Floats = npt.NDArray[np.float64]
#: What scikit-learn's boosting takes for a category; columns of more are numbers to it.
MAX_CATEGORIES = 250


def baseline_scores(benchmark: Benchmark, split: str = "validation") -> dict[str, float]:
    """Returns what a linear model and a support vector machine (RBF kernel) reach on a split, fitted on the training rows.

    The score is the benchmark's principal metric: accuracy of classes (logistic regression), R2 of numbers (ridge
    regression), of the first target. Inputs are flattened, and scaled by one mean and one deviation over all training
    values. Of a table it is a linear model over scaled columns and marked categories, and histogram gradient boosting, which
    takes gaps and categories as they are. All methods keep scikit-learn's default settings, but for enough iterations to
    converge.
    """
    if benchmark.preparation is not None:
        return _table_scores(benchmark, split)
    train, test = _flat(benchmark, "train"), _flat(benchmark, split)
    mean, deviation = float(train.mean()), float(train.std()) or 1.0
    wanted, right = benchmark.targets_of("train")[0], benchmark.targets_of(split)[0]
    scores = {}
    for name, model in _models(benchmark).items():
        model.fit((train - mean) / deviation, wanted)
        scores[name] = float(model.score((test - mean) / deviation, right))
    return scores


def _table_scores(benchmark: Benchmark, split: str) -> dict[str, float]:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, test = _flat(benchmark, "train"), _flat(benchmark, split)
    names = [name for name in sorted(benchmark.inputs) for _ in range(benchmark.inputs[name].shape[1])]
    numbers = [place for place, name in enumerate(names) if name == "numbers"]
    codes = [place for place, name in enumerate(names) if name != "numbers"]
    marked = [name != "numbers" and len(np.unique(column)) <= MAX_CATEGORIES
              for name, column in zip(names, train.T, strict=True)]  # fmt: skip
    scaled = make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), codes),
    )
    is_classes = benchmark.targets[0].kind == "classes"
    boosting = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    name, linear = next(iter(_models(benchmark).items()))
    models = {
        name: make_pipeline(scaled, linear),
        "boosting": boosting(categorical_features=marked, random_state=0),
    }
    wanted, right = benchmark.targets_of("train")[0].reshape(-1), benchmark.targets_of(split)[0].reshape(-1)
    return {name: float(model.fit(train, wanted).score(test, right)) for name, model in models.items()}


def random_return(episodes: Episodes, split: str = "validation") -> float:
    """Returns the mean return of actions drawn evenly (normal ones where a bound is infinite) in the episodes of a split.

    Raises:
        SimulatorFailed: the simulator raised, hung or gave NaN.
    """
    seeds, variants = episodes.lanes(split, 0)
    drawn = np.random.Generator(np.random.Philox(key=np.array([episodes.split_seed, 1], dtype=np.uint64)))
    goes_on, total = np.ones(len(seeds), dtype=np.bool_), np.zeros(len(seeds))
    with closing(episodes.simulator()) as simulator:
        found: Any = simulator.reset(seeds, variants)
        for _ in range(episodes.max_steps):
            if isinstance(found, Failure):
                raise SimulatorFailed(f"the simulator of {episodes.name} failed ({found.cause}): {found.detail}")
            found = simulator.step(episodes.actions.of(_random_answers(episodes, drawn, len(seeds))))
            if isinstance(found, Failure):
                continue
            total += np.where(goes_on, found.rewards.astype(np.float64), 0.0)
            goes_on &= ~(found.terminated | found.truncated)
            if not goes_on.any():
                break
    return float(total.mean())


def _random_answers(episodes: Episodes, drawn: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    actions = episodes.actions
    if actions.choices:
        return drawn.random((count, actions.choices), dtype=np.float32)
    low, high = np.array(actions.low), np.array(actions.high)
    is_bounded = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        even = low + (high - low) * drawn.random((count, len(low)))
    return np.where(is_bounded, even, drawn.standard_normal((count, len(low)))).astype(np.float32)


def _models(benchmark: Benchmark) -> dict[str, Any]:
    from sklearn.compose import TransformedTargetRegressor  # heavy: only where it is needed
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    if benchmark.targets[0].kind == "classes":
        return {"logistic_regression": LogisticRegression(max_iter=2000), "svc": SVC()}
    svr = TransformedTargetRegressor(MultiOutputRegressor(SVR()), transformer=StandardScaler())
    return {"ridge": Ridge(), "svr": svr}


def _flat(benchmark: Benchmark, split: str) -> Floats:
    channels = benchmark.inputs_of(split)
    rows = [channels[key].reshape(len(channels[key]), -1).astype(np.float64) for key in sorted(channels)]
    return np.concatenate(rows, axis=1)
