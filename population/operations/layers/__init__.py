"""Operations on vectors and images, one file a group: linear, convolution, pooling, norms, activations, layout.

It may import `population.errors`, `population.operations` and `population.operations.kernels`. Its public things are
`linear`, `convolution`, `pooling`, `normalization`, `activation`, `arithmetic`, `layout`.
"""
