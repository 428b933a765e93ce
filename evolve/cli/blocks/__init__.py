"""The commands about blocks: list, new, import, export, promote, roll back, infer.

It may import any room of `population` and `fitness`, those of `evolve` up to `evolve.tuning`, and
`evolve.cli.shared`. Its public things are `listing`, `new`, `models`, `heads`, `infer`.
"""
