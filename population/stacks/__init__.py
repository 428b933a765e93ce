"""Individuals that share a graph as one record of stacked tensors: sliced to tiers, run, and written row by row.

It may import `population.errors`, `population.encoding`, `population.operations` and `population.graphs`. Its public
things are `stack.Stack`, `interpreters.run_stack`, `interpreters.run_block`, `tiers.slice_stack`,
`row_format.encode_rows`.
"""
