"""What every test may ask for: goldens, scale, hypothesis profiles, one torch thread, one real Ray."""

from __future__ import annotations

import importlib
import os
import tempfile

# Tests talk to nobody. Set before any library reads them; a caller's own setting wins.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, settings

# A shared machine makes single examples slow without making them wrong: no deadline per example, pytest's timeout holds.
_QUIET = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, print_blob=True, suppress_health_check=_QUIET
)
settings.register_profile("dev", max_examples=50, deadline=None, print_blob=True, suppress_health_check=_QUIET)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=_QUIET)


#: What a test tells of the cases it drew goes by this name with its report, also from another process.
TOLD = "told"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --regen-goldens, --scale and --runtime-types."""
    parser.addoption("--regen-goldens", action="store_true", help="write the goldens anew; read the diff in review")
    parser.addoption("--scale", type=float, default=1.0, help="multiplies how many cases scaled tests draw (1.0)")
    parser.addoption("--runtime-types", action="store_true", help="check every annotation while the tests run")


def pytest_configure(config: pytest.Config) -> None:
    """Loads the hypothesis profile that HYPOTHESIS_PROFILE names (else `ci` under CI, `dev` elsewhere), scaled.

    Run-time types are hooked in here too, before any test imports the packages.
    """
    if config.getoption("--runtime-types"):
        from jaxtyping import install_import_hook

        importlib.import_module("tests.runtime_types")  # the hook finds it by its dotted name
        install_import_hook(["population", "fitness", "evolve"], "tests.runtime_types.check")
    name = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
    profile = settings.get_profile(name)
    examples = max(1, round(profile.max_examples * config.getoption("--scale")))
    settings.register_profile("scaled", parent=profile, max_examples=examples)
    settings.load_profile("scaled")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints how many cases were drawn and what was found, test by test."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    ended = [report for report in reports if getattr(report, "when", None) == "teardown"]
    lines = [str(text) for report in ended for name, text in report.user_properties if name == TOLD]
    if lines:
        terminalreporter.section("counts")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs an accelerator where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no accelerator here"))


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def regen_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are to be written anew rather than compared."""
    return bool(request.config.getoption("--regen-goldens"))


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> float:
    """The factor of --scale."""
    return float(request.config.getoption("--scale"))


@pytest.fixture(scope="session")
def scaled(scale: float) -> Callable[[int], int]:
    """A function that multiplies a count by --scale, at least 1."""
    return lambda count: max(1, round(count * scale))


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that prints a line in the summary at the end of the run: how many cases were drawn, what was found."""
    return lambda text: request.node.user_properties.append((TOLD, f"{request.node.name}: {text}"))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[ModuleType]:
    """The module `ray`, connected to a real cluster of two CPUs on this machine, shared by all tests that ask."""
    import ray

    with tempfile.TemporaryDirectory(prefix="tbe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(  # "local": never another test's cluster on this machine
            "local",
            num_cpus=2,
            object_store_memory=256 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            namespace="tests",
            _temp_dir=f"{folder}/r",  # /tmp/ray is another user's, where one ran before
        )
        yield ray
        ray.shutdown()
