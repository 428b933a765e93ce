"""A campaign's configuration, one typed and frozen model a section; every key is checked before any compute.

It may import any room of `population`. Its public things are `campaign.CampaignConfig`, `campaign.load_config`,
`campaign.check_config`, `data.DataConfig`, `tune.TuneConfig`.
"""
