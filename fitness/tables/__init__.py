"""Tables: from the raw columns of a file to arrays, by a preprocessing that is data, fitted on training rows alone.

It may import any room of `population`, and `fitness.measures`. Its public things are `prepare_table`,
`PreparedTable`, `TableSettings`, `read_table`, `RawTable`.

    kinds      cells -> what a column holds       leaks      columns that give the target away
    fit        training rows -> decoder, scaling  prepare    all of it, in order, and what to tell a person
    target     the target column -> task and values
"""

from __future__ import annotations

from fitness.tables.prepare import Preparation, PreparedTable, TableSettings, prepare_table
from population.inputs.table_files import RawTable, read_table, table_of

__all__ = ["Preparation", "PreparedTable", "RawTable", "TableSettings", "prepare_table", "read_table", "table_of"]
