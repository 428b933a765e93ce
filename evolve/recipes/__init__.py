"""Recipes: how a candidate is made, from a strategy's proposal through work units to the child itself.

It may import any room of `population`, those of `fitness` up to `fitness.benchmarks`, and `evolve.operators`. Its
public things are `recipe.Recipe`, `batch.Batch`, `work_units.cut_batch`, `work_units.join_results`,
`materialise.materialise`.
"""
