"""Where the loader of registered MLflow models is found: they carry this module's name for good."""

from evolve.runtime.bundle import _load_pyfunc

__all__ = ["_load_pyfunc"]
