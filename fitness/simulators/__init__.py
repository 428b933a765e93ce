"""Simulators in a jail of their own, stepped in lockstep with whoever chooses the actions.

It may import any room of `population`, `fitness.processes` and `fitness.judges`. Its public things are
`simulator.Environment`, `simulator.Spaces`, `gymnasium_lanes.spec_of`.
"""
