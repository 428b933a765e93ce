from __future__ import annotations

import doctest
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evolve import display
from evolve.home import block_names as address


def test_examples_in_docstrings_hold() -> None:
    for module in (display, address):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0


@given(st.floats(0, 1e12))
def test_a_duration_never_shows_sixty_of_a_smaller_unit(seconds: float) -> None:
    text = display.duration(seconds)
    assert not {"60 s", "60 min"} & {" ".join(pair) for pair in pairwise(text.split())}
    assert "1000 ms" not in text
    assert not text.startswith("60.0 s")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_short_text(value: float) -> None:
    assert 0 < len(display.number(value)) <= 14
