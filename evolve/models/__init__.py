"""Users' models in and out: PyTorch modules imported in a jail, blocks as ONNX, safetensors and plain PyTorch.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.promotion`. Its public
things are `importer.Importer`, `founder.with_model`, `export.export_block`, `onnx_files`, `plain_files`.
"""
