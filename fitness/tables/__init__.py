"""Tables: from a CSV or Parquet file to arrays, by a preprocessing that is data, fitted on training rows alone.

    read       bytes -> columns of cells          target     the target column -> task and values
    kinds      cells -> what a column holds       leaks      columns that give the target away
    fit        training rows -> decoder, scaling  prepare    all of it, in order, and what to tell a person

Nouns: see the modules.
"""

from __future__ import annotations

from fitness.tables.prepare import Preparation, PreparedTable, TableSettings, prepare_table
from population.inputs.table_files import RawTable, read_table, table_of

__all__ = ["Preparation", "PreparedTable", "RawTable", "TableSettings", "prepare_table", "read_table", "table_of"]
