"""What commands share: options, output, streams, progress, failures and exit codes, Ctrl-C.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.tuning`. Its public things
are `options`, `output`, `streams.screens`, `failure.report`, `interruption.Interruption`.
"""
