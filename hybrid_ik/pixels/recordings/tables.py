"""Parquet files of recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import DatasetError
from hybrid_ik.pixels.packages import vision_package


def read_table(path: Path, label: str, columns: Sequence[str] | None = None, filters: Any = None) -> Any:
    """A pyarrow table of these columns, of the rows that meet the filters.

    Args:
        path: the file.
        label: what errors begin with.
        columns: their names; all by default.
        filters: conditions of `pyarrow.parquet.read_table`.

    Raises:
        DatasetError: missing, damaged, or without one of the columns.
        MissingPackageError: pyarrow is not installed.
    """
    there = column_names(path, label)
    missing = [name for name in columns or [] if name not in there]
    if missing:
        raise DatasetError(f"{label}: {path} has no column {missing[0]!r}; its columns: {', '.join(there)}")
    try:
        return vision_package("pyarrow.parquet").read_table(path, columns=columns, filters=filters, partitioning=None)
    except (OSError, vision_package("pyarrow").ArrowException) as error:
        raise _damaged(path, label, error) from error


def column_names(path: Path, label: str) -> list[str]:
    """Names of the columns of a file; errors as of `read_table`."""
    if not path.is_file():
        raise DatasetError(f"{label}: expected the file {path}, and there is none; fetch the dataset again")
    try:
        return list(vision_package("pyarrow.parquet").read_schema(path).names)
    except (OSError, vision_package("pyarrow").ArrowException) as error:
        raise _damaged(path, label, error) from error


def write_table(path: Path, groups: Sequence[Any]) -> None:
    """Write tables of the same columns as one file, atomically; each is a row group, so that it can be read alone."""
    pyarrow, parquet = vision_package("pyarrow"), vision_package("pyarrow.parquet")
    sink = pyarrow.BufferOutputStream()
    with parquet.ParquetWriter(sink, groups[0].schema, compression="snappy") as writer:
        for table in groups:
            writer.write_table(table)
    write_atomically(path, sink.getvalue().to_pybytes())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, atomically."""
    write_atomically(path, (json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n").encode())


def tasks_table(tasks: Sequence[str]) -> Any:
    """`meta/tasks.parquet`: numbers of tasks under their words, which pandas is told to take as the index."""
    pyarrow = vision_package("pyarrow")
    table = pyarrow.table({"task_index": pyarrow.array(range(len(tasks)), pyarrow.int64()), "task": list(tasks)})
    described = [_pandas_column("task_index", "int64", "int64"), _pandas_column("task", "unicode", "object")]
    names = [{**_pandas_column(None, "unicode", "object"), "metadata": {"encoding": "UTF-8"}}]
    pandas = {"index_columns": ["task"], "column_indexes": names, "columns": described, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _pandas_column(name: str | None, kind: str, numpy_kind: str) -> dict[str, Any]:
    return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}


def _damaged(path: Path, label: str, error: Exception) -> DatasetError:
    return DatasetError(f"{label}: {path} is damaged ({str(error).strip()}); fetch it again")
