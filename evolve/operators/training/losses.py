"""What training makes smaller: the loss of a benchmark's targets, differentiable, for all candidates at once.

Shapes: P candidates, K classes, D numbers, B samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.targets import HUBER_AT, Scale, Target

Tensors = Mapping[str, torch.Tensor]
#: ``(outputs by channel [P, K or D, B], values of every target) -> [P]``; values are ``[P, B]`` or ``[P, B, D]``.
Loss = Callable[[Tensors, Sequence[torch.Tensor]], torch.Tensor]


def training_loss(benchmark: Benchmark, outputs: Sequence[str], smoothing: float = 0.0) -> Loss:
    """Returns the weighted sum of the targets' losses, each the mean over samples.

    Args:
        outputs: the output channels of the graph. smoothing: of class labels (Szegedy et al. 2016).
    """
    channels = benchmark.channels_of(outputs)
    scales = benchmark.scales

    def loss(found: Tensors, values: Sequence[torch.Tensor]) -> torch.Tensor:
        total: torch.Tensor | None = None
        for channel, target, scale, wanted in zip(channels, benchmark.targets, scales, values, strict=True):
            own = _loss_of(target, scale, found[channel], wanted, smoothing)
            own = own if target.weight == 1.0 else own * target.weight
            total = own if total is None else total + own
        assert total is not None, "a benchmark has at least one target"
        return total

    return loss


def teaching_loss(
    benchmark: Benchmark, outputs: Sequence[str], temperature: float
) -> Callable[[Tensors, Tensors], torch.Tensor]:
    """Returns ``(student's outputs, teacher's outputs) -> [P]``: what pulls one towards the other.

    Class scores: ``T^2 * KL(teacher || student)`` of softened outputs (Hinton et al. 2015, sec. 2); numbers: the mean squared
    difference in units of the training targets' variance.
    """
    channels = benchmark.channels_of(outputs)
    scales = benchmark.scales

    def loss(student: Tensors, teacher: Tensors) -> torch.Tensor:
        total: torch.Tensor | None = None
        for channel, target, scale in zip(channels, benchmark.targets, scales, strict=True):
            if target.kind == "classes":
                own = _divergence(student[channel], teacher[channel].detach(), temperature)
            else:
                own = _scaled(student[channel] - teacher[channel].detach(), scale).square().mean(dim=(1, 2))
            own = own if target.weight == 1.0 else own * target.weight
            total = own if total is None else total + own
        assert total is not None, "a benchmark has at least one target"
        return total

    return loss


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the mean cross-entropy of each row, ``[P]``, in nats.

    Shapes: logits ``[P, K, B]``, targets ``[P, B]``, weights ``[K]``: what a sample of each class counts.
    """
    logs = torch.log_softmax(logits, dim=1)
    picked = logs.gather(1, targets[:, None, :])[:, 0, :]
    kept = picked if smoothing == 0 else picked * (1 - smoothing) + logs.mean(dim=1) * smoothing
    return -(kept if weights is None else kept * weights[targets]).mean(dim=1)


def _loss_of(target: Target, scale: Scale, found: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
    if target.kind == "classes":
        weights = torch.from_numpy(scale.class_weights).to(found.dtype) if target.class_weights else None
        return cross_entropy(found, wanted, smoothing, weights)
    errors = _scaled(found - wanted.movedim(2, 1), scale)  # [P, D, B]
    if target.loss == "squared":
        each = errors.square()
    elif target.loss == "absolute":
        each = errors.abs()
    else:
        size = errors.abs()
        each = torch.where(size <= HUBER_AT, 0.5 * errors.square(), HUBER_AT * (size - 0.5 * HUBER_AT))
    return each.mean(dim=(1, 2))


def _scaled(errors: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Errors ``[P, D, B]`` in units of the training targets' deviation."""
    return errors / torch.from_numpy(scale.deviation).to(errors.dtype)[:, None]


def _divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    wanted = torch.log_softmax(teacher / temperature, dim=1)
    given = torch.log_softmax(student / temperature, dim=1)
    return (wanted.exp() * (wanted - given)).sum(dim=1).mean(dim=1) * temperature**2
