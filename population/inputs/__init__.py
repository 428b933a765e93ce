"""Raw files and table cells to the input channels of a block, and outputs back to a table's words.

It may import `population.errors`, `population.encoding` and `population.files`. Its public things are
`table_files.read_table`, `archives.read_npz`, `input_files.read_inputs`, `decoder.Decoder`, `columns`, `cells`.
"""
