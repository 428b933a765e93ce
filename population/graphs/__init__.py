"""Op graphs: what a block computes, with shapes inferred, checked and measured without running anything.

It may import `population.errors`, `population.registry`, `population.encoding` and `population.operations`. Its public
things are `graph.OpGraph`, `nodes.Channel`, `nodes.Node`, `exit_gates.ExitGate`, `shape_inference.infer`.
"""
