"""Tables of the user's own: CSV and Parquet files as a data set, every row accounted for."""

from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.row_audit import as_lines, warnings_of
from pareto_rec.data.table.store import load_table

__all__ = ["TableOptions", "as_lines", "load_table", "warnings_of"]
