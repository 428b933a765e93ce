"""What the lineage records, and its bytes: tables, births as columns, commits, frames, the content hash.

It may import `population.errors`. Its public things are `records.Commit`, `records.Births`, `schema.TABLES`,
`frames.scan`, `commits.encode_commit`, `content_hash.ContentHash`.
"""
