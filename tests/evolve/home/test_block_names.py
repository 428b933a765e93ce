from __future__ import annotations

from pathlib import Path

import pytest

from evolve.home.block_names import is_block_prefix, resolve_block, split_target
from evolve.home.home import Home
from population.errors import InputError, NotFound
from tests.evolve.blocks import classifier


def test_a_tier_is_said_once(tmp_path: Path) -> None:
    assert split_target("digits@lite", "lite") == ("digits", "lite")
    with pytest.raises(InputError, match="say it once"):
        split_target("digits@lite", "pro")
    for target in ("digits@", "digits@huge"):
        with pytest.raises(InputError, match="choose lite, pro, ultimate or auto"):
            split_target(target)


def test_eight_characters_of_a_block_id_are_a_prefix() -> None:
    assert is_block_prefix("bafyr4ih")
    for text in ("bafyr4i", "bafyr4i0", "digits-long-name", "3f09aa51c2d4"):
        assert not is_block_prefix(text)


def test_names_and_prefixes_lead_to_blocks(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    cid = home.block_store().put(classifier())
    home.heads().advance("digits", cid, {}, 0, decided="2026-01-01T00:00:00+00:00")
    for text in ("digits", "digits@lite", cid, cid[:12]):
        assert resolve_block(home, text) == cid
    with pytest.raises(NotFound, match="heads: digits"):
        resolve_block(home, "digit")
    with pytest.raises(NotFound):
        resolve_block(home, "bafyr4ih" + "z" * 10)
