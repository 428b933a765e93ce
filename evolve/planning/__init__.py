"""From a config to the plan of a campaign: task, data, fitness function, plugins, isolation, origin; resolved and
checked.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.strategies`. Its public
things are `plan.Plan`, `plan.make_plan`, `task.resolved`, `load_data.load_data`, `isolation_rules`, `origin.Origin`.
"""
