"""The block store: write-once bytes under their hash, packed rows, signed production heads, and its check; it knows no
block.

It may import `population.errors`, `population.encoding` and `population.files`. Its public things are
`objects.BlockStore`, `row_packs.Packs`, `heads.Heads`, `keys.Keys`, `check.check_store`.
"""
