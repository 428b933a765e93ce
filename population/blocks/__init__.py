"""Tensor blocks: a graph with its tensors, tiers, exit gates and decoder, named by the hash of its manifest.

It may import any room of `population`. Its public things are `block.TensorBlock`, `block.load_block`,
`manifest.write_manifest`, `manifest.read_manifest`.
"""
