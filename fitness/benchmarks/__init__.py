"""What candidates are judged on: rows with targets, or episodes of a simulator; named benchmarks and their baselines.

It may import any room of `population`, and those of `fitness` up to `fitness.simulators`. Its public things are
`benchmark.Benchmark`, `episodes.Episodes`, `registry.register`, `registry.load`, `arrays.benchmark_of_arrays`,
`baselines.baseline_scores`.
"""
