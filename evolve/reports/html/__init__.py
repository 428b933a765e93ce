"""The report of a campaign: one HTML page that needs nothing but itself.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.reports`. Its public things
are `page.make_report`, `evidence.Evidence`, `ancestry.ancestry_of`, `plots`, `sections`.

`evidence` asks the lineage's views, `ancestry` chooses and lays out a part of the family tree, `plots` turns numbers into
places on paper, `sections` says what stands where, `page` writes it down.
"""
