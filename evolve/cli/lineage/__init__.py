"""The commands about the lineage: query, lineage, rebuild, report, quarantine.

It may import any room of `population` and `fitness`, those of `evolve` up to `evolve.tuning`, `evolve.cli.shared` and
`evolve.cli.campaigns`. Its public things are `query`, `lineage`, `report`, `quarantine`.
"""
