"""Improves a model of one's own: a PyTorch module is taken in, the campaign begins with it, and the gate compares with it.

The module's code runs in a jail; its block is stored, is the founder of the campaign, and the first head of the name that the
config promotes to. So what comes out takes its place only where the gate finds it not worse, on rows that no operator saw.

Nouns: *model* (the module and the block that it became).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from evolve.config.campaign import CampaignConfig
from evolve.config.model import ModelConfig
from evolve.home.origins import row_reader
from evolve.models.importer import Importer, Source, is_weights
from evolve.planning.isolation_rules import is_enough
from evolve.planning.origin import Founder, Origin
from evolve.planning.plan import benchmark_of
from fitness.benchmarks.benchmark import Benchmark
from population.blocks.block import TensorBlock
from population.errors import ConfigError, InputError
from population.files.user_file import read_user_file
from population.stacks.row_format import encode_rows, row_digests

if TYPE_CHECKING:
    from evolve.home.home import Home

MAX_FILE_BYTES = 1 << 30


def with_model(config: CampaignConfig, home: Home) -> tuple[CampaignConfig, Origin]:
    """Returns the config with the graph of its model, and the origin that the campaign begins with; both are in the store.

    Raises:
        ConfigError, NotFound: a file cannot be found, or the jail is not what was accepted. InputError: the module cannot
            become a block, or does not fit the data; the message says why.
    """
    assert config.model is not None
    benchmark = benchmark_of(config)
    block = _imported(config, config.model, benchmark)
    home.block_store().put(block)
    model = config.model.model_copy(update={"block": block.id})
    return config.model_copy(update={"model": model, "graph": block.graph.to_value()}), origin_of_block(home, block)


def origin_of_block(home: Home, block: TensorBlock) -> Origin:
    """Returns the origin of a campaign that begins with a block; its row is in the store then."""
    stack = block.to_stack()
    home.block_store().put_many(encode_rows(stack))
    key = blake3(block.id.encode(), derive_key_context="evolve 2026 imported model").hexdigest()
    founder = Founder(key[:32], row_digests(stack)[0], stack.widths_of(0))
    return Origin("", key, 0, (founder,), row_reader(home))


def _imported(config: CampaignConfig, model: ModelConfig, benchmark: Benchmark) -> TensorBlock:
    source = _source(model, benchmark)
    importer = Importer(with_modules=model.modules)
    try:
        level, accepted = importer.report.level, config.run.accept_level
        if not is_enough(level, accepted):
            raise ConfigError(
                f"run.accept_level is {accepted!r}, and this machine's jail has level {level!r}: code of {model.path!r} could "
                f"reach what is open. `evolve doctor` shows what is; close it, or accept it with --accept-level {level}"
            )
        return importer.run(source).block
    except InputError as error:
        raise ConfigError(f"model: {error}") from error
    finally:
        importer.close()


def _source(model: ModelConfig, benchmark: Benchmark) -> Source:
    """What is handed to the jail: the files, and the data's channels in the place of the arguments of forward."""
    if not model.path:
        raise ConfigError("model.path: name the Python file of the module, e.g. model=net.py")
    if model.weights is not None and not is_weights(model.weights):
        raise ConfigError(f"model.weights: {model.weights}: the name must end in .safetensors, .pt, .pth or .bin")
    path, _, name = model.path.partition(":")
    channels = [
        (channel, tuple(int(size) for size in array.shape[1:]), "int64" if array.dtype.kind in "iu" else "float32")
        for channel, array in benchmark.inputs.items()
    ]
    return Source(
        [(Path(file).name, _content(file)) for file in (path, *model.files)],
        model.name or name or None,
        (Path(model.weights).name, _content(model.weights)) if model.weights else None,
        channels,
        [target.name for target in benchmark.targets],
        model.modules,
    )


def _content(path: str) -> bytes:
    return read_user_file(path, MAX_FILE_BYTES, f"model: {path}", error=ConfigError)
