"""From ATen operations, as `torch.export` writes them down, to the nodes of a graph; one file a group of operations.

It may import `population.errors`, `population.registry`, `population.operations` and `population.graphs`. Its public
things are `capture.capture`, `registry.mapping_of`, `drafts.Sketch`, `widths.block_graph`.
"""
