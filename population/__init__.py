"""What exists: op graphs, tensor blocks, stacks of individuals, the block store and the lineage."""
