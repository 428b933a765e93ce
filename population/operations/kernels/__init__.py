"""The arithmetic under the operations, on whole stacks at once: matrix products, sliding windows, convolution.

It may import `population.errors` and `population.operations`. Its public things are `products.affine`,
`products.product`, `windows.Window`, `convolution.convolve`.
"""
