"""The records a graph is made of, and how they are written as plain values: channels and nodes.

Nouns: *channel* (a named input of a block), *node* (one operation applied to named values), *role* (what a parameter is to
its node: its weight, its bias).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from population import operations
from population.errors import InvalidGraph, NotFound
from population.operations import dimensions as dims
from population.operations.attributes import Attribute
from population.operations.dimensions import MAX_DIMENSION
from population.operations.registry import Operation
from population.registry import nearest

DTYPES: Final = ("bfloat16", "bool", "float16", "float32", "float64", "int32", "int64", "int8", "uint8")
MAX_RANK: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_FIELDS: Final = ("name", "op", "inputs", "parameters", "per_tier")
EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Channel:
    """A named input: the shape and dtype of one sample."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_name(self.name, "input channel")
        where = f"input channel {self.name!r}"
        if self.dtype not in DTYPES:
            raise InvalidGraph(
                f"{where}: dtype {str(self.dtype)[:40]!r} is not supported; choose one of {', '.join(DTYPES)}"
            )
        shape: object = self.shape  # written by hand, perhaps
        if not isinstance(shape, list | tuple) or len(shape) > MAX_RANK:
            raise InvalidGraph(f"{where}: expected a shape of at most {MAX_RANK} sizes, got {shape!r}"[:300])
        for size in shape:
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_DIMENSION:
                raise InvalidGraph(
                    f"{where}: every size is a whole number from 1 to {MAX_DIMENSION}, got {size!r}"[:300]
                )
        object.__setattr__(self, "shape", tuple(shape))


@dataclass(frozen=True)
class Node:
    """One operation applied to named values.

    Attributes:
        inputs: names of channels or nodes, in the operation's order.
        parameters: parameter name by role; roles that are not named get ``"<node>.<role>"``.
        attributes: settings of the operation; and ``per_tier``, the roles of which every tier has its own tensor.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def per_tier(self) -> tuple[str, ...]:
        """The roles of which every tier has its own tensor."""
        roles = self.attributes.get("per_tier", ())
        assert isinstance(roles, tuple)
        return roles

    @property
    def label(self) -> str:
        """The node as messages name it."""
        return f"node {self.name!r} ({self.op})"


def check_name(name: object, what: str) -> str:
    """The name, if it can be one: letters, digits, ``_``, ``.``, ``-``, at most 128. Raises: InvalidGraph."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidGraph(
            f"{what}: {str(name)[:80]!r} is no name: use up to 128 letters, digits, '_', '.', '-', not beginning with '.' or '-'"
        )
    return name


def operation_of(node: Node) -> Operation:
    """The operation of a node. Raises: InvalidGraph that names the node and the nearest operation."""
    try:
        return operations.get(node.op)
    except NotFound as error:
        raise InvalidGraph(f"node {node.name!r}: {error}") from error


def normalise(node: Node) -> Node:
    """The node in its one form: attributes read and checked, defaults left out, keys sorted.

    Raises: InvalidGraph naming the node, what was expected, what came, and the remedy.
    """
    check_name(node.name, "node")
    operation = operation_of(node)
    inputs: object = node.inputs  # written by hand, perhaps
    if not isinstance(inputs, list | tuple) or not all(isinstance(name, str) for name in inputs):
        raise InvalidGraph(f"{node.label}: inputs: expected a list of names, got {inputs!r}"[:300])
    least, most = operation.num_inputs
    if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
        wanted = str(least) if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise InvalidGraph(f"{node.label}: expected {wanted} inputs, got {len(node.inputs)}: {list(node.inputs)}"[:300])
    kept = _read_attributes(node, operation)
    roles = _read_roles(node)
    if roles:
        kept["per_tier"] = roles
    named: object = node.parameters
    if not isinstance(named, Mapping):
        raise InvalidGraph(f"{node.label}: parameters: expected a mapping of role to name, got {named!r}"[:300])
    names = {str(role): check_name(name, f"{node.label}: parameter") for role, name in named.items()}
    return Node(node.name, node.op, tuple(node.inputs), dict(sorted(names.items())), dict(sorted(kept.items())))


def _read_attributes(node: Node, operation: Operation) -> dict[str, Attribute]:
    kept: dict[str, Attribute] = {}
    for name, value in node.attributes.items():
        if name == "per_tier":
            continue
        kind = operation.attributes.get(name)
        if kind is None:
            raise InvalidGraph(
                f"{node.label}: there is no attribute {str(name)[:80]!r}{suggest(name, operation.attributes)}"
            )
        try:
            read = kind.read(value)
        except InvalidGraph as error:
            raise InvalidGraph(f"{node.label}: {name}: {error}") from error
        if read != kind.default or type(read) is not type(kind.default):
            kept[name] = read
    for name, kind in operation.attributes.items():
        if kind.is_required and name not in kept:
            raise InvalidGraph(
                f"{node.label}: attribute {name!r} is missing: add it, e.g. {name}: {_EXAMPLES.get(name, 1)}"
            )
    return kept


_EXAMPLES: Final = {
    "out": 16, "kernel": 3, "shape": "[16, 2, 2]", "order": "[1, 0]", "length": 1, "heads": 4, "head_width": 8,
    "num_embeddings": 100, "sizes": "[3, 2]", "positions": "[0, 2]", "mean": "[0.5, 2]", "deviation": "[1, 3]",
}  # fmt: skip


def _read_roles(node: Node) -> tuple[str, ...]:
    given: object = node.attributes.get("per_tier", ())
    roles = (given,) if isinstance(given, str) else given
    if not isinstance(roles, list | tuple) or not all(isinstance(role, str) for role in roles):
        raise InvalidGraph(f"{node.label}: per_tier: expected a list of roles such as [bias], got {roles!r}"[:300])
    return tuple(sorted(set(roles)))


def full_attributes(node: Node) -> dict[str, Attribute]:
    """The attributes of a normalised node with the defaults filled in."""
    kinds = operations.get(node.op).attributes
    defaults = {name: kind.default for name, kind in kinds.items() if kind.default is not None}
    return {**defaults, **{name: value for name, value in node.attributes.items() if name != "per_tier"}}


def sized_attributes(node: Node, widths: dims.Widths) -> dict[str, Attribute]:
    """The attributes as ``run`` and ``flops`` get them: defaults filled in, inner dimensions as sizes at these widths."""
    found = full_attributes(node)
    for name, dim in inner_dimensions(node).items():
        found[name] = dims.width(dim, widths)
    return found


def inner_dimensions(node: Node) -> dict[str, dims.Dim]:
    """The dimensions of a normalised node that the shapes around it do not tell, by attribute."""
    kinds = operations.get(node.op).attributes
    return {name: dims.parse_dim(node.attributes[name]) for name, kind in kinds.items() if kind.is_inner}


def suggest(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, and all of them."""
    known = sorted(known)
    near = nearest(str(name), known)
    hint = f"; did you mean {near!r}?" if near else "."
    return f"{hint} Known: {', '.join(known[:40]) or 'none'}"


# ---- plain values ----------------------------------------------------------------------------------------------------


def node_to_value(node: Node) -> dict[str, Any]:
    """A normalised node as plain values; names that follow from the node's own are left out."""
    value: dict[str, Any] = {"name": node.name, "op": node.op, "inputs": list(node.inputs)}
    for name, attribute in node.attributes.items():
        value[name] = _plain(attribute)
    own = {role: name for role, name in node.parameters.items() if name != f"{node.name}.{role}"}
    return {**value, "parameters": own} if own else value


def _plain(attribute: Attribute) -> Any:
    return [_plain(item) for item in attribute] if isinstance(attribute, tuple) else attribute


def node_from_value(value: object, where: str) -> Node:
    """The node of a mapping with ``name``, ``op``, ``inputs`` and the operation's attributes. Raises: InvalidGraph."""
    if not isinstance(value, Mapping):
        raise InvalidGraph(
            f"{where}: expected a mapping such as {{name: a, op: relu, inputs: [x]}}, got {value!r}"[:300]
        )
    for name in ("name", "op", "inputs"):
        if name not in value:
            raise InvalidGraph(
                f"{where}: {str(value.get('name', '?'))[:80]!r}: {name!r} is missing: every node has one"
            )
    if not isinstance(value["op"], str):
        raise InvalidGraph(f"{where}: op: expected the name of an operation, got {value['op']!r}"[:300])
    inputs = value["inputs"]
    attributes = {str(key): item for key, item in value.items() if key not in _FIELDS or key == "per_tier"}
    inputs = (inputs,) if isinstance(inputs, str) else inputs
    return Node(value["name"], value["op"], inputs, value.get("parameters", EMPTY), attributes)


def nodes_from_value(value: object, where: str, limit: int) -> tuple[Node, ...]:
    """The nodes of a list. Raises: InvalidGraph."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InvalidGraph(f"{where}: expected a list of nodes, got {value!r}"[:300])
    if len(value) > limit:
        raise InvalidGraph(f"{where}: {len(value)} nodes where at most {limit} are allowed: split the block")
    return tuple(node_from_value(item, f"{where}[{index}]") for index, item in enumerate(value))
