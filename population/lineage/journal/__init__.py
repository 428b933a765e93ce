"""The files of the lineage: written by one writer, read, followed, sealed, merged, checked and repaired.

It may import `population.errors`, `population.clock`, `population.files` and `population.lineage.format`. Its public
things are `writer.LineageWriter`, `reader.LineageReader`, `follow.Follower`, `fsck.check_lineage`,
`repair.repair_lineage`.
"""
