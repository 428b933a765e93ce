"""The seam between a campaign and whoever judges: work units in, results out, and the task that they are judged on.

It may import any room of `population`, `fitness.measures` and `fitness.tables`. Its public things are
`work_unit.WorkUnit`, `work_unit.UnitResult`, `work_unit.Evaluator`, `task.Task`, `object_table.ObjectTable`, `codec`.
"""
