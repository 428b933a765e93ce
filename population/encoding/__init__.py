"""Values as bytes in one way only: canonical CBOR, and content ids (CIDs) made of BLAKE3 hashes.

It may import `population.errors`. Its public things are `cbor.encode`, `cbor.decode`, `cbor.Link`, `cid.cid_of`,
`cid.parse_cid`.
"""
