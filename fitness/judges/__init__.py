"""What runs candidates in the jail and returns raw outputs: judges, players, and runners see no labels; scorers see no
candidate.

It may import any room of `population`, `fitness.measures` and `fitness.processes`. Its public things are
`judge.Judge`, `judge.SubprocessJudge`, `judge.InlineJudge`, `tiles.Tile`, `tile_plan.PlanTable`, `scorer.Scorer`.
"""
