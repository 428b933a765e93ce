"""The operations that blocks are made of, one file a group; ``get`` finds one by name.

Nouns: see `population.operations.registry`.
"""

from __future__ import annotations

from population.operations import activation as _activation
from population.operations import arithmetic as _arithmetic
from population.operations import attention as _attention
from population.operations import columns as _columns
from population.operations import convolution as _convolution
from population.operations import embedding as _embedding
from population.operations import layout as _layout
from population.operations import linear as _linear
from population.operations import normalization as _normalization
from population.operations import pooling as _pooling
from population.operations import recurrent as _recurrent
from population.operations import sequence as _sequence
from population.operations.registry import Call, Inferred, Operation, ParameterSpec, get, names, register

__all__ = ["Call", "Inferred", "Operation", "ParameterSpec", "get", "names", "register"]

_GROUPS = (
    _activation,
    _arithmetic,
    _attention,
    _columns,
    _convolution,
    _embedding,
    _layout,
    _linear,
    _normalization,
    _pooling,
    _recurrent,
    _sequence,
)
