"""The options that many commands share, and the home they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evolve.home.home import Home

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="FOLDER",
        help="Where everything is kept; else EVOLVE_HOME, else the nearest .evolve upwards from here.",
        show_default=False,
    ),
]
AcceptOption = Annotated[
    str,
    typer.Option(
        "--accept-level",
        metavar="LEVEL",
        help="The least isolation for operations of other packages: full, reduced or none.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts instead of text.")]


def find_home(home: Path | None) -> Path:
    """Returns where the home of this command lies, or would lie."""
    from evolve.home.home import Home

    return Home.find(Path.cwd(), home, os.environ.get("EVOLVE_HOME"))


def open_home(home: Path | None) -> Home:
    """Returns the home of this command. Raises NotFound where there is none."""
    from evolve.home.home import Home

    return Home.open(find_home(home), tracking_uri())


def create_home(home: Path | None) -> Home:
    """Returns the home of this command, made new where there is none."""
    from evolve.home.home import Home

    return Home.create(find_home(home), tracking_uri())


def tracking_uri() -> str | None:
    """Returns the MLflow server that the environment names, or None."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None
