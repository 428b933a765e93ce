"""Tensor blocks: an op graph with its tensors, tiers, exit gates and decoder, as one immutable value named by its content.

The byte format is written down in FORMAT.md beside this file; `population.blocks.manifest` reads and writes it.

Nouns: *tensor block*, *manifest* (the description that the id hashes), *leaf* (bytes of a tensor, or of a tier's part).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from population.blocks.manifest import Parts, read_manifest, write_manifest
from population.encoding.cbor import encode
from population.encoding.cid import cid_of
from population.errors import FormatError, InputError
from population.graphs.exit_gates import ExitGate, check_gates
from population.graphs.graph import OpGraph
from population.graphs.nodes import suggest
from population.inputs.decoder import Decoder
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.operations.dimensions import Widths
from population.stacks.dtypes import DTYPES
from population.stacks.stack import TIER_MARK, Stack
from population.stacks.tiers import TIERS, WIDEST, Tiers, check_tiers, expected_shapes
from population.store.objects import BlockStore


class NotFinite(InputError):
    """A parameter holds NaN or infinity: such a block is never kept."""


@dataclass(frozen=True, eq=False)
class TensorBlock:
    """A self-sufficient piece of a network. Equal blocks have equal ids.

    Attributes:
        graph: at the block's own widths. tensors: by parameter name; ``name@tier``, at that tier's widths, beside it.
        tiers: widths of every tier by symbol; ``ultimate`` is the whole graph. Empty: the block has no narrower tiers.
        gates: conditions that end a computation early.
        decoder: how a table's raw rows become the input channels, for a block that takes such rows.
    """

    graph: OpGraph
    tensors: Mapping[str, torch.Tensor]
    tiers: Tiers = field(default_factory=dict)
    gates: tuple[ExitGate, ...] = ()
    decoder: Decoder | None = None

    def __post_init__(self) -> None:
        if self.tiers:
            check_tiers(self.tiers, self.graph)
        check_gates(self.gates, [channel for channel, _ in self.graph.outputs], self.tier_names)
        shapes = expected_shapes(self.graph, self.tiers, self.tensors)
        if set(shapes) != set(self.tensors):
            raise InputError(f"block: expected tensors {sorted(shapes)}, got {sorted(self.tensors)}")
        for name, shape in shapes.items():
            _check_tensor(name, self.tensors[name], shape)
        if self.decoder is not None:
            _check_decoder(self.decoder, self.graph)

    @staticmethod
    def from_torch(
        module: torch.nn.Module,
        example: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor],
        outputs: Sequence[str] | None = None,
    ) -> TensorBlock:
        """The block that computes what a PyTorch module computes in evaluation mode; the module is not changed.

        Input channels are called as the arguments of ``forward``, tensors as in ``state_dict``. Hidden widths become
        width symbols, tied where they must be equal. Batch norms go into the weights before them. Runs the module's code.

        Args:
            example: what the module is called with: a tensor, several, or a mapping by argument; one sample or more in
                the first axis of each, ``[N, *shape]``.
            outputs: names for the output channels, in order. None: keys of a dict, ``output`` or ``output_0`` and so on.

        Raises:
            UnsupportedModule: calls without counterpart, all of them, each with the nearest operation that has one.
            InputError: ``torch.export`` cannot capture the module, or it does not compute the same each time.
            NotFinite: a parameter holds NaN or infinity.

        Source: `torch.export <https://docs.pytorch.org/docs/stable/export.html>`_.
        """
        from population.pytorch import translate

        found = translate(module, example, outputs)
        block = TensorBlock(found.graph, found.tensors)
        found.check(block)
        return block

    def to_torch(self, tier: str = WIDEST) -> torch.nn.Module:
        """A PyTorch module in evaluation mode that computes what the block computes at a tier; its tensors are copies.

        Called with channels by name, or in alphabetical order, ``[N, *shape]`` each; gives a tensor, or a dict by channel
        where there are several outputs. Keys of ``state_dict`` are the names of the tensors.

        Raises: InputError for a tier that the block does not have.
        """
        from population.pytorch import to_torch

        return to_torch(self, tier)

    @property
    def tier_names(self) -> tuple[str, ...]:
        """The tiers that can be asked for, narrowest first."""
        return tuple(tier for tier in TIERS if tier in self.tiers) or (WIDEST,)

    @staticmethod
    def from_stack(
        stack: Stack,
        row: int,
        tiers: Tiers | None = None,
        gates: tuple[ExitGate, ...] = (),
        decoder: Decoder | None = None,
    ) -> TensorBlock:
        """The block of one row, at the row's own widths; its state is left behind.

        Raises:
            NotFinite: a parameter holds NaN or infinity.
            InvalidGraph: tiers or gates do not fit. InputError: the decoder does not.
        """
        graph = stack.graph.with_widths(stack.widths_of(row))
        chosen = {tier: dict(sorted(tiers[tier].items())) for tier in TIERS if tier in tiers} if tiers else {}
        if chosen:
            check_tiers(chosen, graph)
        tensors = {}
        for name, tensor in stack.live_tensors(row).items():
            base, mark, tier = name.partition(TIER_MARK)
            if not mark:
                tensors[name] = tensor.clone()
            elif tier in chosen:
                shape = graph.parameters[base].shape
                tensors[name] = dims.take(tensor, shape, graph.symbols, chosen[tier]).clone()
        return TensorBlock(graph, tensors, chosen, tuple(gates), decoder)

    def to_stack(self) -> Stack:
        """A stack of one row, float32, the tiers' own tensors among zeros."""
        tensors = {}
        for name, tensor in self.tensors.items():
            base, mark, tier = name.partition(TIER_MARK)
            shape = self.graph.parameters[base].shape
            widths = self.tiers[tier] if mark else self.graph.symbols
            tensors[name] = dims.put(tensor.to(torch.float32), shape, self.graph.symbols, widths)[None].clone()
        widest = [[self.graph.symbols[name] for name in self.graph.symbol_names]]
        return Stack(self.graph, tensors, torch.tensor(widest, dtype=torch.int64).reshape(1, -1))

    def widths_of(self, tier: str) -> Widths:
        """The widths of a tier. Raises: InputError for one that the block does not have."""
        if tier not in self.tier_names:
            raise InputError(f"the block has no tier {str(tier)[:40]!r}{suggest(tier, self.tier_names)}")
        return self.tiers.get(tier, self.graph.symbols)

    def graph_of(self, tier: str) -> OpGraph:
        """The graph at a tier's widths."""
        return self.graph.with_widths(self.widths_of(tier))

    def tensors_of(self, tier: str) -> dict[str, torch.Tensor]:
        """The tensors of a tier at its widths, by parameter name."""
        widths, found = self.widths_of(tier), {}
        for name, spec in self.graph.parameters.items():
            own = self.tensors.get(f"{name}{TIER_MARK}{tier}")
            found[name] = dims.take(self.tensors[name], spec.shape, self.graph.symbols, widths) if own is None else own
        return found

    def flops(self, tier: str = WIDEST) -> int:
        """Counted FLOPs a sample at a tier."""
        return self.graph.flops(self.widths_of(tier))

    def manifest(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest's value and the leaves it links to, by CID."""
        return write_manifest(Parts(self.graph, self.tensors, self.tiers, self.gates, self.decoder))

    @staticmethod
    def from_manifest(value: Any, read_leaf: Callable[[str], bytes]) -> TensorBlock:
        """The block of a manifest, which may come from a stranger; ``read_leaf`` gives the bytes of a CID.

        Raises: FormatError for everything wrong with the manifest or a leaf; and what ``read_leaf`` raises.
        """
        parts = read_manifest(value, read_leaf)
        try:
            return TensorBlock(parts.graph, parts.tensors, parts.tiers, parts.gates, parts.decoder)
        except InputError as error:
            raise FormatError(f"manifest: {error}") from error

    @cached_property
    def id(self) -> str:
        """The block id: the CID of the manifest."""
        return cid_of(encode(self.manifest()[0]), "dag-cbor")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorBlock) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


def load_block(store: BlockStore, cid: str) -> TensorBlock:
    """The block of a store, the hash of its manifest and of every leaf verified.

    Raises: NotFound; StoreCorrupt when an object is missing or does not hash to its name; FormatError when the object is
        sound but no manifest that this version reads.
    """
    return store.load(cid, TensorBlock.from_manifest)


def _check_tensor(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tensor.dtype not in DTYPES.values():
        raise InputError(f"block: tensor {name!r} has dtype {tensor.dtype}; choose one of {', '.join(DTYPES)}")
    if tuple(tensor.shape) != shape:
        raise InputError(f"block: tensor {name!r}: expected shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise NotFinite(f"block: tensor {name!r} holds NaN or infinity: such a block is not kept; look in quarantine")


def _check_decoder(decoder: Decoder, graph: OpGraph) -> None:
    channels = decoder.channels
    for channel in graph.inputs:
        dtype, size = channels.get(channel.name, ("", 0))
        if (channel.dtype, channel.shape) != (dtype, (size,)):
            raise InputError(
                f"block: its decoder gives {channels}, its graph reads {channel.name!r} {list(channel.shape)} {channel.dtype}"
            )
    nodes = dict(graph.outputs)
    for answer in decoder.answers:
        node = nodes.get(answer.channel)
        if node is None or dims.sizes(graph.value_shapes[node], graph.symbols) != (answer.size,):
            raise InputError(f"block: its decoder explains {answer.size} numbers of {answer.channel!r}: no such output")
