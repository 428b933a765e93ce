"""SQL over the lineage: the views that users query, pedigrees, and hardened queries in DuckDB.

It may import `population.errors`, `population.lineage.format` and `population.lineage.journal`. Its public things are
`views.all_views`, `query.run_query`, `connection.open_connection`, `limits.QueryLimits`, `pedigrees.functions`.
"""
