"""``evolve blocks export`` and ``evolve blocks import``: blocks to and from what others use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from evolve.models.importer import Imported, Source
    from population.blocks.block import TensorBlock


def export_block(
    target: Annotated[
        str,
        typer.Argument(metavar="BLOCK", help="A production name, or a block's id or its beginning; @TIER chooses one."),
    ],
    kind: Annotated[str, typer.Option("--format", "-f", help="onnx, safetensors or torch.")] = "onnx",
    tier: Annotated[
        str | None, typer.Option(help="lite, pro or ultimate: that tier alone.", show_default="the whole block")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", show_default="NAME.onnx, ... here"),
    ] = None,
    accept_level: options.AcceptOption = "full",
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Export a block as ONNX, as safetensors, or as a plain PyTorch file.

    Each copy is run against the block on up to 1,000 seeded inputs, one, seven and all at once, before it is kept; the largest
    difference is printed, and where it is above 1e-5 nothing is written (exit code 1). ONNX is run by onnxruntime, a PyTorch
    file by a Python that cannot import this project. Where a single sample takes more than 512 MiB or 400 GFLOPs, the copy is
    written without a check, and the command says so.

    onnx          one file; the number of samples is free
    safetensors   one file: the tensors by name, the graph in the metadata; `evolve blocks import` reads it
    torch         FILE.py, an nn.Module that needs torch alone, and FILE.safetensors with its weights

    A block with an operation of another package is exported only as safetensors, and runs in a jail.

    Examples:
      evolve blocks export digits --format onnx
      evolve blocks export digits --format torch --tier lite --output small.py
      evolve blocks export bafyr4ihzwcb --format safetensors --json
    """
    from evolve.home.block_names import resolve_block, split_target
    from evolve.models.export import ENDINGS, FORMATS
    from evolve.models.export import export_block as export
    from evolve.models.placing import place
    from evolve.planning.isolation_rules import checked_level
    from population.blocks.block import load_block
    from population.errors import InputError

    if kind not in FORMATS:
        raise InputError(f"--format {kind!r}: choose from {', '.join(FORMATS)}")
    opened = options.open_home(home)
    name, chosen = split_target(target, tier)
    whole = tier is None and "@" not in target
    cid = resolve_block(opened, name)
    file = to or Path(f"{name[:24]}{'' if whole else f'-{chosen}'}{ENDINGS[kind]}")
    _check_name(file, ENDINGS[kind])
    block, title = load_block(opened.block_store(), cid), _title(cid, whole, chosen)
    made = export(block, kind, file.stem, None if whole else chosen, title, checked_level(accept_level))
    folder = file.absolute().parent
    place(opened.files, folder, made.files)
    found = {
        "block": cid, "format": kind, "tier": None if whole else chosen, "files": [str(folder / part) for part in made.files],
        "largest_difference": made.largest_difference, "inputs": max(made.batches, default=0), "batches": list(made.batches),
        "outputs": made.outputs,
    }  # fmt: skip
    _tell(found, as_json, [str(file.parent / part) for part in made.files])


def _tell(found: dict[str, Any], as_json: bool, files: list[str]) -> None:
    if as_json:
        output.show_json(found)
        return
    for file in files:
        output.say(file)
    if not found["inputs"]:
        output.note("not checked: a single sample takes more memory or time than checking may")
        return
    output.note(
        f"largest difference from the block on {found['inputs']:,} seeded inputs: {found['largest_difference']:.2g} "
        f"(in batches of {', '.join(f'{size:,}' for size in found['batches'])})"
    )


def _title(cid: str, is_whole: bool, tier: str) -> str:
    return f"Tensor block {cid}{'' if is_whole else f' at tier {tier}'}."


def _check_name(file: Path, ending: str) -> None:
    from population.errors import InputError

    output.check_writable(file, "--output")
    if file.suffix != ending:
        raise InputError(f"--output {file}: the name must end in {ending}")
    if ending == ".py" and not file.stem.isidentifier():
        raise InputError(f"--output {file}: Python must be able to import it: use letters, digits and '_'")


def import_block(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="FILE.py or FILE.py:NAME and what it imports; or a block's FILE.safetensors."
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".safetensors, or .pt of torch.save(module.state_dict()).")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=SHAPE", help="Argument and shape of one sample: image=1,8,8 or ids=32:int64."
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--name-output", metavar="NAME", help="Names for the outputs, in order.")
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="MODULE", help="An installed package that it imports; trusted as torch is."),
    ] = None,
    accept_level: Annotated[
        str, typer.Option(help="The least isolation to run its code at: full, reduced or none.")
    ] = "full",
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Import a PyTorch module as a block, and store it.

    FILE.py:NAME names the class, or a function that makes the module, called without arguments; NAME may be left out where
    the file has one module. Its code runs in the jail that candidates are judged in: no files, no network. What it computes
    is taken down by torch.export; calls that have no counterpart are named, all of them, with what comes nearest. Inputs
    are named by --input, or by a function example() in the file. The block is compared with the module on up to 1,000 seeded
    inputs, fewer where they are large.

    Examples:
      evolve blocks import net.py:Net --weights net.safetensors --input image=1,8,8
      evolve blocks import net.py layers.py --input rows=12 --name-output logits
      evolve blocks import digits.safetensors
    """
    if files[0].endswith(".safetensors"):
        block, facts = _read_block(Path(files[0])), {}
    else:
        source = _source(files, weights, inputs or [], outputs or [], modules or [])
        imported, level = _imported(source, accept_level)
        block = imported.block
        facts = {
            "module": imported.module, "largest_difference": imported.largest_difference, "inputs": imported.num_inputs,
            "sandbox_level": level,
        }  # fmt: skip
    opened = options.create_home(home)
    cid = opened.block_store().put(block)
    if as_json:
        output.show_json({"block": cid, **facts, "graph": block.graph.to_value()})
        return
    output.say(cid)
    output.note(_summary(block, facts))


def _summary(block: TensorBlock, facts: dict[str, Any]) -> str:
    from evolve.display import count

    graph = block.graph
    widths = ", ".join(f"{symbol}={width}" for symbol, width in graph.symbols.items()) or "none"
    numbers = sum(tensor.numel() for tensor in block.tensors.values())
    text = f"{len(graph.schedule)} operations, {numbers:,} numbers, {count(block.flops())} FLOPs a sample; widths: {widths}"
    if not facts:
        return text
    told = f"largest difference from the module on {facts['inputs']:,} seeded inputs: {facts['largest_difference']:.2g}"
    return f"{text}\n{told if facts['inputs'] else 'compared with the module on its example'}"


def _read_block(path: Path) -> TensorBlock:
    from evolve.models.plain_files import block_of
    from population.errors import FormatError

    try:
        return block_of(_content(path))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _content(path: Path, option: str = "") -> bytes:
    from population.files.user_file import read_user_file

    return read_user_file(path, _MAX_FILE_BYTES, f"{option} {path}".strip())


_MAX_FILE_BYTES = 2 << 30


def _source(
    files: list[str], weights: Path | None, inputs: list[str], outputs: list[str], modules: list[str]
) -> Source:
    from evolve.models.importer import Source, is_weights
    from population.errors import InputError

    first, _, name = files[0].partition(":")
    for file in (first, *files[1:]):
        if not file.endswith(".py"):
            raise InputError(f"{file}: name Python files, or one .safetensors of a block; weights go by --weights")
    if weights is not None and not is_weights(weights.name):
        raise InputError(f"--weights {weights}: the name must end in .safetensors, .pt, .pth or .bin")
    return Source(
        [(Path(file).name, _content(Path(file))) for file in (first, *files[1:])],
        name or None,
        (weights.name, _content(weights, "--weights")) if weights else None,
        [_input(text) for text in inputs],
        outputs,
        modules,
    )


def _input(text: str) -> tuple[str, tuple[int, ...], str]:
    """The name, shape and dtype of ``NAME=1,8,8:float32``."""
    from population.errors import InputError
    from population.graphs.nodes import suggest
    from population.stacks.dtypes import DTYPES

    name, equals, rest = text.partition("=")
    shape, _, dtype = rest.partition(":")
    sizes = [size.strip() for size in shape.replace("x", ",").split(",") if size.strip()]
    if not equals or not name or not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise InputError(f"--input {text!r}: write NAME=SHAPE of one sample, such as image=1,8,8 or tokens=32:int64")
    if (dtype or "float32") not in DTYPES:
        raise InputError(f"--input {text!r}: there is no dtype {dtype!r}{suggest(dtype, DTYPES)}")
    return name, tuple(int(size) for size in sizes), dtype or "float32"


def _imported(source: Source, accept_level: str) -> tuple[Imported, str]:
    """The block of a module whose code runs in the jail. Raises: InputError where the jail is not what was accepted."""
    from evolve.models.importer import Importer
    from evolve.planning.isolation_rules import checked_level, is_enough
    from population.errors import InputError

    checked_level(accept_level)
    output.note("starting a jail, and torch.export in it ...")
    importer = Importer(with_modules=source.with_modules)
    try:
        level = importer.report.level
        if not is_enough(level, accept_level):
            raise InputError(
                f"this machine's jail has level {level!r}, and {accept_level!r} is asked for: the module's code could reach "
                f"what is open. `evolve doctor` shows what is; close it, or accept the risk with --accept-level {level}"
            )
        return importer.run(source), level
    finally:
        importer.close()
