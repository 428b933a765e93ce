"""Who gets which work unit: workers that make children and score them, in this process or in child processes, and the
dispatch.

It may import any room of `population`, and those of `fitness` up to `fitness.scoring`. Its public things are
`worker.Worker`, `dispatch.Dispatch`, `in_process.InProcessEvaluator`, `child_processes.ProcessEvaluator`,
`maker.JailedMaker`.

A worker's process holds the labels of the rows it scores; they never leave it.
"""
