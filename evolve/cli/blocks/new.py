"""``evolve blocks new`` and ``evolve blocks templates``: blocks to start from, made of a named graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from evolve.templates import Interface, Template


def new_block(
    template: Annotated[str, typer.Option(help="The name of a starting graph; `evolve blocks templates` lists them.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the template, or a shape; as often as needed."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the shapes, and what templates fit to data, from this benchmark."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the first weights.")] = 0,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Make a block of a named starting graph, with seeded first weights, and keep it in the store.

    The same template, settings and seed give the same block. The graph is what `graph: {template: NAME, ...}` in a config
    stands for.

    Examples:
      evolve blocks new --template mlp --set inputs.x=[4] --set outputs.logits=3 --set hidden=[32,16]
      evolve blocks new --template cnn --benchmark digits --seed 7
      evolve blocks new --template sequence --set inputs.tokens.shape=[20] --set vocabulary=1000 --set outputs.logits=2
    """
    from evolve.config.campaign import set_keys
    from evolve.templates import block_of, resolve
    from population.graphs.graph import OpGraph

    section: dict[str, Any] = {"template": template}
    set_keys(section, settings or (), "--set")
    graph = OpGraph.from_value(resolve(section, _interface(benchmark)))
    block = block_of(graph, seed)
    cid = options.create_home(home).block_store().put(block)
    if as_json:
        output.show_json({"block": cid, "template": section["template"], "seed": seed, "graph": graph.to_value()})
        return
    numbers = sum(tensor.numel() for tensor in block.tensors.values())
    output.note(
        f"made a block of template {section['template']!r}: {numbers:,} numbers, {block.flops():,} FLOPs a sample"
    )
    output.note(f"look at it: evolve blocks show {cid[:16]}")
    output.say(cid)


def list_templates(as_json: options.JsonOption = False) -> None:
    """List the named starting graphs, what each is for, and its settings with their defaults.

    Example:
      evolve blocks templates
    """
    from evolve import templates

    found = [templates.get(name) for name in templates.names()]
    if as_json:
        output.show_json([{"template": t.name, "summary": t.summary, "settings": _defaults(t)} for t in found])
        return
    cells = [
        (t.name, t.summary, ", ".join(f"{k}={output.json_text(v)}" for k, v in _defaults(t).items())) for t in found
    ]
    output.show(display.table(("template", "what it is", "settings"), cells))


def _defaults(template: Template) -> dict[str, Any]:
    return {name: field.get_default() for name, field in template.settings.model_fields.items()}


def _interface(benchmark: str | None) -> Interface | None:
    if benchmark is None:
        return None
    from evolve.templates import interface_of
    from fitness.benchmarks import registry as datasets

    return interface_of(datasets.load(benchmark))
