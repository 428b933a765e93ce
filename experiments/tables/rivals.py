"""What stands against an evolved block: a tuned linear model and tuned histogram gradient boosting, on the same columns.

They are fitted on all rows that are not held out, training and validation rows together, and tuned there by cross-validation
until their seconds are used up. They get the columns that the block gets: numbers with gaps, dates in parts, category codes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fitness.benchmarks.benchmark import Benchmark

STRENGTHS = (1.0, 0.1, 10.0, 0.01, 100.0, 0.001, 1000.0)
MAX_CATEGORIES = 250
FOLDS = 4
#: Beyond it one fold says enough, and leaves time for more settings.
MANY_ROWS = 10_000
#: Of boosting: iterations of its first setting, which is the library's own, and at most; what a setting may take of what is
#: left of the seconds, so that it can be fitted once more on all rows.
FIRST_ITERATIONS, MOST_ITERATIONS = 100, 1000
SHARE_OF_LEFT = 0.4
Columns = tuple[list[int], list[int]]


def rows_of(benchmark: Benchmark) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Columns]:
    """Returns columns and target of the rows to fit on and of the held-out ones, and which columns are numbers and codes."""
    names = [name for name in sorted(benchmark.inputs) for _ in range(benchmark.inputs[name].shape[1])]
    table = np.concatenate([benchmark.inputs[n].astype(np.float64) for n in sorted(benchmark.inputs)], axis=1)
    target = benchmark.targets[0].values.reshape(-1)
    fit = np.sort(np.concatenate([benchmark.rows("train"), benchmark.rows("validation")]))
    out = benchmark.rows("heldout")
    numbers = [place for place, name in enumerate(names) if name == "numbers"]
    codes = [place for place, name in enumerate(names) if name != "numbers"]
    return table[fit], target[fit], table[out], target[out], (numbers, codes)


def linear_settings(columns: Columns, is_classes: bool) -> list[Any]:
    """Returns linear models of different strengths, the usual one first."""
    scaled = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), columns[0]),
        (OneHotEncoder(handle_unknown="ignore"), columns[1]),
    )
    models = [LogisticRegression(C=c, max_iter=2000) if is_classes else Ridge(alpha=1 / c) for c in STRENGTHS]
    return [make_pipeline(scaled, model) for model in models]


def boosting_settings(columns: Columns, is_classes: bool, table: np.ndarray, seed: int) -> list[Any]:
    """Returns boosting with settings drawn at random, the library's own first."""
    rng = np.random.default_rng(seed)
    marked = [c in columns[1] and len(np.unique(table[:, c])) <= MAX_CATEGORIES for c in range(table.shape[1])]
    kind = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    fixed = {"categorical_features": marked, "random_state": seed, "early_stopping": True, "max_iter": MOST_ITERATIONS}
    drawn = [
        {
            "learning_rate": float(10 ** rng.uniform(-2, -0.5)),
            "max_leaf_nodes": int(rng.choice([4, 8, 16, 31, 63])),
            "min_samples_leaf": int(rng.choice([5, 10, 20, 50])),
            "l2_regularization": float(10 ** rng.uniform(-3, 2)),
        }
        for _ in range(60)
    ]
    first = [kind(categorical_features=marked, random_state=seed)]
    return first + [kind(**fixed, **settings) for settings in drawn]


def tuned(models: list[Any], x: np.ndarray, y: np.ndarray, metric: str, seconds: float, is_classes: bool) -> Any:
    """Returns the model that cross-validation finds best within so many seconds (one at least), fitted on all rows.

    Boosting may take as many iterations as what is left of its seconds seems to bear, by what the first model took.
    """
    began, best, found, first = time.monotonic(), -np.inf, models[0], 0.0
    folds: Any = (StratifiedKFold if is_classes else KFold)(FOLDS, shuffle=True, random_state=0)
    if len(y) > MANY_ROWS:
        folds = ShuffleSplit(1, test_size=1 / FOLDS, random_state=0)
    for tried, model in enumerate(models):
        spent = time.monotonic() - began
        left = seconds * 0.85 - spent
        if tried and spent / tried > left:  # the next one, and the last fit, would not be done in time
            break
        if tried and "max_iter" in model.get_params():
            model.set_params(
                max_iter=int(np.clip(FIRST_ITERATIONS * SHARE_OF_LEFT * left / first, 20, MOST_ITERATIONS))
            )
        score = float(cross_val_score(model, x, y, cv=folds, scoring=metric).mean())
        first = first or time.monotonic() - began
        if score > best:
            best, found = score, model
    return found.fit(x, y)


def rivals(benchmark: Benchmark, metric: str, seconds: float, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the held-out score of each rival, tuned for so many seconds each, and the seconds that each took."""
    x, y, x_out, y_out, columns = rows_of(benchmark)
    is_classes = benchmark.targets[0].kind == "classes"
    scorer = get_scorer(metric)
    models = {
        "linear": linear_settings(columns, is_classes),
        "boosting": boosting_settings(columns, is_classes, x, seed),
    }
    scores, took = {}, {}
    for name, settings in models.items():
        began = time.monotonic()
        scores[name] = float(scorer(tuned(settings, x, y, metric, seconds, is_classes), x_out, y_out))
        took[name] = time.monotonic() - began
    return scores, took
