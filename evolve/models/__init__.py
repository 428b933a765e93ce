"""Blocks in the formats of others: ONNX, safetensors, plain PyTorch; each copy is run against its block before it is kept."""
