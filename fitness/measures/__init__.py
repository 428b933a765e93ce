"""What answers are measured by: metrics, targets, objectives, splits, a user's function as data, and the test of a
held-out look.

It may import `population.errors`. Its public things are `metrics.METRICS`, `targets.Target`,
`objectives.default_objectives`, `splits.split_of_rows`, `heldout_tests.paired_decision`, `user_function.Scoring`.
"""
