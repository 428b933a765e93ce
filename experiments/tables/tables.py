"""The five tables of the study: three that scikit-learn ships, and two that are generated here, from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

SEED = 20_261_121


def wine() -> pd.DataFrame:
    """178 wines of three growers, 13 measurements."""
    bunch = datasets.load_wine(as_frame=True)
    return bunch.frame.assign(target=bunch.target.map(dict(enumerate(("first", "second", "third")))))


def breast_cancer() -> pd.DataFrame:
    """569 tumours, benign or malignant, 30 measurements."""
    bunch = datasets.load_breast_cancer(as_frame=True)
    return bunch.frame.assign(target=bunch.target.map({0: "malignant", 1: "benign"}))


def diabetes() -> pd.DataFrame:
    """442 patients, ten measurements as they were taken, how far the disease went in a year."""
    frame: pd.DataFrame = datasets.load_diabetes(as_frame=True, scaled=False).frame
    return frame


def messy(num_rows: int = 8000) -> pd.DataFrame:
    """Orders that are returned, one in thirty: text, dates, truths, numbers with outliers, a fifth of all cells missing."""
    rng = np.random.default_rng(SEED)
    city = rng.choice([f"city {k}" for k in range(40)], num_rows, p=_falling(40))
    article = rng.choice(["coat", "shoes", "shirt", "hat", "bag", "belt", "scarf"], num_rows)
    day = np.datetime64("2023-01-01") + rng.integers(0, 730, num_rows)
    price, age = rng.lognormal(3.5, 0.8, num_rows), rng.normal(45, 15, num_rows)
    member, visits = rng.random(num_rows) < 0.4, rng.poisson(3, num_rows)
    pull = dict(zip(sorted(set(city)), rng.normal(size=40), strict=False))
    weekend = (day.astype("datetime64[D]").astype(int) + 3) % 7 >= 5
    season = np.sin(2 * np.pi * (day.astype("datetime64[D]").astype(int) % 365.2425) / 365.2425)
    score = 0.9 * np.log(price) + 1.2 * (article == "shoes") + 0.8 * (article == "coat") * (season > 0)
    score += 0.9 * np.array([pull[name] for name in city]) + 0.9 * weekend - 0.8 * member * (visits > 2)
    score += 0.04 * np.abs(age - 45) + rng.normal(size=num_rows) * 0.7
    returned = score > np.quantile(score, 1 - 1 / 31)
    frame = pd.DataFrame(
        {
            "order": [f"o{n:06}" for n in range(num_rows)],
            "city": city,
            "article": article,
            "ordered": day.astype("datetime64[D]").astype(str),
            "price": price.round(2),
            "age": age.round(1),
            "member": np.where(member, "yes", "no"),
            "visits": visits,
            "shop": "main",
        }
    )
    gaps = rng.random((num_rows, 7)) < 0.2
    names = ["city", "article", "ordered", "price", "age", "member", "visits"]
    for place, name in enumerate(names):
        frame[name] = frame[name].astype(object).where(~gaps[:, place], None)
    return frame.assign(returned=np.where(returned, "yes", "no"))


def large(num_rows: int = 50_000) -> pd.DataFrame:
    """50,000 rows of 60 numbers, three classes in nine clusters: scikit-learn's generator, a third of the numbers noise."""
    x, y = datasets.make_classification(
        num_rows, 60, n_informative=20, n_redundant=20, n_classes=3, n_clusters_per_class=3, class_sep=0.8,
        flip_y=0.02, random_state=SEED % 2**31,
    )  # fmt: skip
    return pd.DataFrame(x, columns=[f"x{k}" for k in range(60)]).assign(target=[f"class {k}" for k in y])


#: name -> (maker, target column, the metric that is compared)
TABLES: dict[str, tuple[Callable[[], pd.DataFrame], str, str]] = {
    "wine": (wine, "target", "accuracy"),
    "breast_cancer": (breast_cancer, "target", "accuracy"),
    "diabetes": (diabetes, "target", "r2"),
    "messy": (messy, "returned", "roc_auc"),
    "large": (large, "target", "accuracy"),
}


def write(name: str, folder: Path) -> Path:
    """Writes a table as CSV, once, and returns its path."""
    path = folder / f"{name}.csv"
    if not path.exists():
        TABLES[name][0]().to_csv(path, index=False)
    return path


def _falling(count: int) -> np.ndarray:
    weights = 1 / np.arange(1, count + 1)
    return np.asarray(weights / weights.sum())
