"""The home, the one folder that holds everything kept: its campaigns, names, data copies, queries, purge and upgrade.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.planning`. Its public things
are `home.Home`, `block_names.resolve_block`, `origins`, `kept_data`, `jailed_query.query`, `infer.infer`,
`purge.purge`.
"""
