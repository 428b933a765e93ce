"""A block answers: inputs to channels, a tier or the first that is sure, and blocks as bundles and as MLflow models.

It may import any room of `population`. Its public things are `answer.BlockRunner`, `answer.answer_of`, `channels.inputs_of`,
`bundle.export_block`, `bundle.read_export`, `mlflow_model.save_pyfunc`.
"""
