"""``mlp`` and ``policy``: linear layers on all inputs, flattened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolve.operators.registry import Settings
from evolve.templates.parts import Activation, Widths, heads, joined, layers, standardising, whole
from evolve.templates.registry import Interface, Template, register


class MlpSettings(Settings):
    """Attributes: hidden: widest width of each hidden layer. standardise: scale float inputs by their training rows."""

    hidden: Widths = (64,)
    activation: Activation = "relu"
    standardise: bool = True


class PolicySettings(MlpSettings):
    """As an MLP; observations come scaled as the environment gives them."""

    hidden: Widths = (64, 64)
    activation: Activation = "tanh"
    standardise: bool = False


def build(interface: Interface, settings: MlpSettings) -> Mapping[str, Any]:
    """Returns the graph: inputs flattened and joined, hidden layers, a linear head for each output."""
    first, flat = joined(interface.inputs)
    hidden, last, symbols = layers(flat, settings.hidden, settings.activation)
    ends, outputs = heads(last, interface)
    filters = standardising(interface) if settings.standardise else {}
    return whole(interface, [*first, *hidden, *ends], symbols, outputs, filters)


mlp = register(Template("mlp", "linear layers on all inputs, flattened: a first try on arrays", MlpSettings, build))
policy = register(
    Template("policy", "linear layers with tanh from observations to actions: control", PolicySettings, build)
)
