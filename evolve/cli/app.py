"""All commands of the program, in the order in which a newcomer meets them. Registers functions; imports nothing heavy."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from evolve.cli.blocks import listing as blocks
from evolve.cli.blocks.heads import heads, promote, rollback
from evolve.cli.blocks.infer import infer
from evolve.cli.campaigns.fork import fork
from evolve.cli.campaigns.pause import pause, stop
from evolve.cli.campaigns.run import resume, run
from evolve.cli.campaigns.status import status
from evolve.cli.campaigns.tune import tune
from evolve.cli.campaigns.watch import watch
from evolve.cli.home import fsck, store
from evolve.cli.home.doctor import doctor
from evolve.cli.home.purge import purge, upgrade
from evolve.cli.home.ui import ui
from evolve.cli.lineage import quarantine
from evolve.cli.lineage.lineage import lineage, rebuild
from evolve.cli.lineage.query import query
from evolve.cli.lineage.report import report
from evolve.cli.shared import output
from evolve.cli.shared.helptext import help_of, kept

OVERVIEW = """Evolutionary search over tensor blocks: evolve, judge, distil, publish, promote.

A campaign takes a population of tensor blocks (small neural networks) and improves it against a benchmark. Every birth,
score and decision is kept in a lineage that SQL can query; winners are published to a store and promoted to a name.

A first tour:
  evolve run configs/digits.yaml          launch a campaign, promote its winner
  evolve heads                            what is in production now
  evolve lineage digits --ancestors       who its ancestors are
  evolve query "SELECT * FROM individuals LIMIT 5"
  evolve infer digits@lite --input experiments/digits/samples.npz

Every command explains itself: evolve COMMAND --help. Exit codes: 0 done, 1 the answer is no, 2 wrong usage or input,
3 infrastructure failed, 70 a fault of ours, 130 interrupted (and resumable).
"""

app = typer.Typer(
    name="evolve",
    help=kept(OVERVIEW),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            output.say(f"evolve {version('tensor-block-evolution')}")
        except PackageNotFoundError:
            output.say("evolve, not installed: run from its source")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del version
    _check_here()


def _check_here() -> None:
    """Raises InputError where the current folder was removed: no relative path can be resolved."""
    from population.errors import InputError

    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the current folder was removed, or may not be read: cd to another one") from error


LIFE = (run, resume, pause, stop, status, watch, fork, tune)
LOOKING = (report, query, lineage, rebuild, promote, rollback, heads, infer, ui)
CARE = (purge, upgrade, doctor)
for command in (*LIFE, *LOOKING, *CARE):
    app.command(help=help_of(command))(command)
app.add_typer(blocks.app, name="blocks")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(fsck.app, name="fsck")
app.add_typer(store.app, name="store")


def run_program() -> None:
    """Parses the arguments of this process and runs the command; raises SystemExit."""
    signal.signal(signal.SIGTERM, _interrupt)
    app(prog_name="evolve")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Makes a polite request to end the same as Ctrl-C."""
    raise KeyboardInterrupt
