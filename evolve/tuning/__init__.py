"""Better settings for a campaign: a study of trials, each of them a campaign, kept and guided by Optuna.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.reports`. Its public things
are `tuning.tune`, `tuning.make_tuning`, `search_space.Space`, `study.Study`, `study.Trial`.
"""
