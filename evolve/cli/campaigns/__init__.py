"""The commands about campaigns: run, resume, fork, tune, pause, stop, status, watch.

It may import any room of `population` and `fitness`, those of `evolve` up to `evolve.tuning`, and
`evolve.cli.shared`. Its public things are `run`, `fork`, `tune`, `pause`, `status`, `watch`.
"""
