"""What brings a campaign back: replay of its recorded events, checkpoints, rebuilt individuals, forks, and kept rows.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.home`. Its public things are
`replay.resume`, `rebuild.rebuild`, `checkpoints.Checkpoints`, `shelf.StoreShelf`, `fork.make_origin`, `forked_plan`.
"""
