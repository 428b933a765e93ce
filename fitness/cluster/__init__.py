"""The same evaluator over Ray: a cluster joined or started, workers placed on its nodes, and what outlives nobody.

It may import any room of `population`, and those of `fitness` up to `fitness.evaluators`. Its public things are
`ray_evaluator.RayEvaluator`, `ray_cluster.RayCluster`, `node_fingerprint.fingerprint_here`, `placement.place`,
`reaper`.

See `fitness/CLUSTER.md`.
"""
