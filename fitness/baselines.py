"""What plain methods reach on the same rows, to stand honestly beside what evolved."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fitness.benchmark import Benchmark


def baseline_accuracies(benchmark: Benchmark, split: str = "validation") -> dict[str, float]:
    """Returns the accuracy of logistic regression and of an SVC (RBF kernel), fitted on the training rows.

    Inputs are flattened, and scaled by one mean and one deviation over all training values. Both methods keep
    scikit-learn's default settings, but for enough iterations to converge.
    """
    from sklearn.linear_model import LogisticRegression  # heavy: only where it is needed
    from sklearn.svm import SVC

    train, test = _flat(benchmark, "train"), _flat(benchmark, split)
    mean, deviation = float(train.mean()), float(train.std()) or 1.0
    models = {"logistic_regression": LogisticRegression(max_iter=2000), "svc": SVC()}
    accuracies = {}
    for name, model in models.items():
        model.fit((train - mean) / deviation, benchmark.targets_of("train"))
        answers = np.asarray(model.predict((test - mean) / deviation))
        accuracies[name] = float(np.mean(answers == benchmark.targets_of(split)))
    return accuracies


def _flat(benchmark: Benchmark, split: str) -> npt.NDArray[np.float64]:
    channels = benchmark.inputs_of(split)
    rows = [channels[key].reshape(len(channels[key]), -1).astype(np.float64) for key in sorted(channels)]
    return np.concatenate(rows, axis=1)
