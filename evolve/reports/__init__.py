"""What people read about a campaign: its last page, its status, pedigrees, and plain methods to compare with.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.driver`. Its public things
are `closing_page.last_page`, `status.describe`, `baselines.baselines_of`, `pedigree.find`, `pedigree_text.tree_text`.
"""
