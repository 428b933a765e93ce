"""Named starting graphs, one file each, that fit the inputs and outputs they are asked for.

It may import any room of `population`, those of `fitness` up to `fitness.benchmarks`, and `evolve.operators`. Its
public things are `register`, `get`, `names`, `resolve`, `is_template`, `Template`, `Interface`, `interface_of`,
`block_of`.

Nouns: see `evolve.templates.registry`.
"""

from __future__ import annotations

from evolve.templates import cnn as _network
from evolve.templates import mlp as _mlp
from evolve.templates import sequence as _sequence
from evolve.templates import tabular as _tabular
from evolve.templates.block import block_of
from evolve.templates.registry import Interface, Template, get, interface_of, names, register
from evolve.templates.resolve import is_template, resolve

__all__ = ["Interface", "Template", "block_of", "get", "interface_of", "is_template", "names", "register", "resolve"]

_SHIPPED = (_mlp, _network, _sequence, _tabular)
