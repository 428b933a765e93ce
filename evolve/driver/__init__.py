"""What drives a campaign: launches it in a home, performs its work, writes its commits, listens to other terminals,
promotes.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.models`. Its public things
are `carry_out.carry_out`, `launch.launch`, `loop.drive`, `requests`, `trackers`, `evaluators.make_evaluator`,
`disk_full`.
"""
