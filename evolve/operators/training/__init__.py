"""Operators that train by gradient: a burst of steps as a mutation, and distillation into tiers.

It may import any room of `population`, those of `fitness` up to `fitness.benchmarks`, and `evolve.operators`. Its
public things are `burst.apply`, `distil.DistilSettings`, `gradient.train`, `losses.training_loss`.
"""
