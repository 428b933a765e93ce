"""The commands about a home and its machine: doctor, checks, purge, upgrade, MLflow's pages.

It may import any room of `population` and `fitness`, those of `evolve` up to `evolve.tuning`, `evolve.doctor` and
`evolve.cli.shared`. Its public things are `doctor`, `fsck`, `store`, `purge`, `ui`.
"""
