"""The copy of a campaign's data that a home keeps, so that the campaign goes on after the original has moved."""

from __future__ import annotations

from evolve.config.campaign import CampaignConfig
from evolve.home.home import Home
from evolve.planning.load_data import read_bytes
from population.encoding.cid import cid_of_digest
from population.store.objects import object_path


def kept_data(config: CampaignConfig, home: Home) -> set[str]:
    """Returns the object of the home's store that holds the bytes of a config's data, if it has them."""
    section = config.data
    if section is None or not section.digest:
        return set()
    cid = cid_of_digest(bytes.fromhex(section.digest), "raw")
    return {cid} if home.block_store().has(cid) else set()


def located(config: CampaignConfig, home: Home) -> CampaignConfig:
    """Returns the config with the path of the home's copy of its data, where the home has one."""
    kept = kept_data(config, home)
    if not kept or config.data is None:
        return config
    copy = str(object_path(home.store_root, *kept).absolute())
    return config.model_copy(update={"data": config.data.model_copy(update={"path": copy})})


def keep_copy(config: CampaignConfig, home: Home) -> None:
    """Keeps the bytes of a config's data in the home's store, where they are not there yet. Raises StorageError."""
    section = config.data
    if section is not None and located(config, home) is config:
        home.block_store().put_many([read_bytes(section)])
