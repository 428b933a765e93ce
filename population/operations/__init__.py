"""The operations that blocks are made of: what each promises, its attributes and its dimensions; the parts in rooms of
their own.

It may import `population.errors` and `population.registry`. Its public things are `register`, `get`, `names`, `Operation`,
`Call`, `Inferred`, `ParameterSpec`, `dimensions`, `attributes`.

Importing this room registers the operations that ship with the project; a new one is one file in `layers` or
`sequences`.
"""

from __future__ import annotations

from population.operations import table_columns as _columns
from population.operations.layers import activation as _activation
from population.operations.layers import arithmetic as _arithmetic
from population.operations.layers import convolution as _convolution
from population.operations.layers import layout as _layout
from population.operations.layers import linear as _linear
from population.operations.layers import normalization as _normalization
from population.operations.layers import pooling as _pooling
from population.operations.registry import Call, Inferred, Operation, ParameterSpec, get, names, register
from population.operations.sequences import attention as _attention
from population.operations.sequences import embedding as _embedding
from population.operations.sequences import masks as _sequence
from population.operations.sequences import recurrent as _recurrent

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
