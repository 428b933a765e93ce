"""The report of a campaign: one HTML page that needs nothing but itself.

``evidence`` asks the lineage's views, ``ancestry`` chooses and lays out a part of the family tree, ``plots`` turns numbers
into places on paper, ``sections`` says what stands where, ``page`` writes it down.
"""
