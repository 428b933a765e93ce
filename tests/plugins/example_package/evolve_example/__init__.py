"""An example of a package that adds to evolve: see its pyproject.toml."""
