"""``evolve blocks``: what the store holds, and what to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.blocks.models import export_block, import_block
from evolve.cli.blocks.new import list_templates, new_block
from evolve.cli.shared import options, output
from evolve.cli.shared.helptext import help_of

if TYPE_CHECKING:
    from evolve.home.home import Home
    from population.blocks.block import TensorBlock

#: So many columns of a table are shown of a block that takes its rows.
MAX_COLUMNS = 20

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the blocks in the store, make new ones, take them in and out.",
)


def list_blocks(as_json: options.JsonOption = False, home: options.HomeOption = None) -> None:
    """List the blocks in the store.

    Example:
      evolve blocks list
    """
    opened = options.open_home(home)
    found = [_describe(opened, cid) for cid in opened.block_store().list_blocks()]
    origins = _origins(opened)
    for entry in found:
        entry |= origins.get(entry["block"], {"individual": None, "campaign": None})
    if as_json:
        output.show_json(found)
    elif found:
        output.show(_list_table(found))
    else:
        output.note(f"no blocks yet in {opened.store_root}: a campaign publishes its champion when it ends")


def show_block(
    target: Annotated[
        str, typer.Argument(metavar="BLOCK", help="A production name, or a block's id or its beginning.")
    ],
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show one block: its channels, operations, tensors, tiers and exit gates.

    Examples:
      evolve blocks show digits
      evolve blocks show bafyr4ihzwcb --json
    """
    from evolve.home.block_names import resolve_block
    from population.blocks.block import load_block

    opened = options.open_home(home)
    cid = resolve_block(opened, target)
    block = load_block(opened.block_store(), cid)
    value = {**_describe(opened, cid), **_inside(block)}
    value |= _origins(opened).get(cid, {"individual": None, "campaign": None})
    if as_json:
        output.show_json(value)
    else:
        output.show(*_show_text(value))


def _describe(home: Home, cid: str) -> dict[str, Any]:
    from population.blocks.block import load_block

    block = load_block(home.block_store(), cid)
    graph = block.graph
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in block.tensors.values())
    tiers = {tier: {"flops": graph.flops(widths), "widths": dict(widths)} for tier, widths in _tiers(block).items()}
    heads = home.heads()
    names = [name for name in heads.names() if (head := heads.current(name)) and head.block == cid]
    return {"block": cid, "bytes": tensors, "tiers": tiers, "heads": names}


def _tiers(block: TensorBlock) -> dict[str, Any]:
    return dict(block.tiers) or {"ultimate": dict(block.graph.symbols)}


def _inside(block: TensorBlock) -> dict[str, Any]:
    graph = block.graph
    return {
        "inputs": {c.name: {"shape": list(c.shape), "dtype": c.dtype} for c in graph.inputs},
        "outputs": {channel: _dims(graph.value_shapes[node]) for channel, node in graph.outputs},
        "nodes": [_node(block, node) for node in graph.schedule],
        "tensors": {name: list(tensor.shape) for name, tensor in sorted(block.tensors.items())},
        "gates": [gate.to_value() for gate in block.gates],
        "decoder": None if block.decoder is None else block.decoder.to_value(),
    }


def _node(block: TensorBlock, node: Any) -> dict[str, Any]:
    shape = _dims(block.graph.value_shapes[node.name])
    filtered = [channel for channel, nodes in block.graph.filters.items() if node in nodes]
    return {"name": node.name, "op": node.op, "inputs": list(node.inputs), "shape": shape, "filter_of": filtered}


def _dims(shape: Any) -> list[str]:
    """Returns a shape as people write it: a number, or width symbols with their factors."""
    texts = []
    for dim in shape:
        parts = [
            str(factor) if symbol is None else symbol if factor == 1 else f"{factor}*{symbol}" for symbol, factor in dim
        ]
        texts.append("+".join(parts) or "0")
    return texts


def _origins(home: Home) -> dict[str, dict[str, Any]]:
    """Returns block -> the individual and the campaign it was stored for."""
    from population.lineage.sql.query import run_query

    rows = run_query(home.lineage_reader(), "SELECT block, individual, campaign FROM blocks").to_pylist()
    return {row["block"]: {"individual": row["individual"], "campaign": row["campaign"]} for row in rows}


def _list_table(found: list[dict[str, Any]]) -> Any:
    from evolve.display import count, short_id, size

    columns = ("block", "size", "FLOPs a sample: lite, pro, ultimate", "campaign", "individual", "in production as")
    rows = [
        (
            short_id(entry["block"]),
            size(entry["bytes"]),
            ", ".join(count(tier["flops"]) for tier in entry["tiers"].values()),
            entry["campaign"] or "-",
            short_id(entry["individual"]),
            ", ".join(entry["heads"]) or "-",
        )
        for entry in found
    ]
    return display.table(columns, rows, right=("size",))


def _show_text(value: dict[str, Any]) -> list[Any]:
    from evolve.display import count, size

    facts = [
        ("block", value["block"]),
        ("in production as", ", ".join(value["heads"]) or "-"),
        ("individual", f"{value['individual'] or '-'} of campaign {value['campaign'] or '-'}"),
        ("tensors", f"{len(value['tensors'])}, {size(value['bytes'])}"),
        ("inputs", ", ".join(f"{n} {c['dtype']} {c['shape']}" for n, c in value["inputs"].items())),
        ("outputs", ", ".join(f"{name} [{', '.join(shape)}]" for name, shape in value["outputs"].items())),
        ("exit gates", "; ".join(str(output.json_text(gate)) for gate in value["gates"]) or "-"),
    ]
    if value["decoder"] is not None:
        columns = [f"{column['name']} ({column['kind']})" for column in value["decoder"]["columns"]]
        told = ", ".join(str(answer["column"]) for answer in value["decoder"]["answers"])
        more = f" and {len(columns) - MAX_COLUMNS:,} more" if len(columns) > MAX_COLUMNS else ""
        facts.append(("raw rows", f"{', '.join(columns[:MAX_COLUMNS])}{more}; tells {told}"))
    tiers = [
        (tier, f"{count(facts['flops'])}", ", ".join(f"{s}={w}" for s, w in facts["widths"].items()))
        for tier, facts in value["tiers"].items()
    ]
    nodes = [
        (
            n["name"],
            n["op"] + (" (filter)" if n["filter_of"] else ""),
            ", ".join(n["inputs"]),
            f"[{', '.join(n['shape'])}]",
        )
        for n in value["nodes"]
    ]
    return [
        display.pairs(facts),
        "",
        display.table(("tier", "FLOPs a sample", "widths"), tiers, right=("FLOPs a sample",)),
        "",
        display.table(("operation", "kind", "reads", "shape"), nodes),
    ]


app.command("list", help=help_of(list_blocks))(list_blocks)
app.command("show", help=help_of(show_block))(show_block)
app.command("export", help=help_of(export_block))(export_block)
app.command("import", help=help_of(import_block))(import_block)
app.command("new", help=help_of(new_block))(new_block)
app.command("templates", help=help_of(list_templates))(list_templates)
