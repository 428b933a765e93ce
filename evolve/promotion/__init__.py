"""The gate to production: a candidate, one look at held-out rows, the decision with its reasons, and the way back.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.home`. Its public things are
`promote.promote`, `promote.rollback`, `promote.Decision`, `acceptance.terms_of`, `heldout.look`, `ledger.Ledger`.
"""
