"""Operations on sequences, one file a group: attention, embeddings, masks, recurrent states.

It may import `population.errors`, `population.operations`, `population.operations.kernels` and
`population.operations.layers`. Its public things are `attention`, `embedding`, `masks`, `recurrent`.
"""
