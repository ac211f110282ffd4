"""A recording as a file of Parquet, asked by DuckDB: what a column store makes of the same questions.

Run by an interpreter that has DuckDB::

    python -m bench.beside.duckdb_parquet make FLAT FOLDER
    python -m bench.beside.duckdb_parquet ask FOLDER CALLS QUESTIONS
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import duckdb  # type: ignore[import-not-found]

from bench.beside.asked import Answer, run

_COLUMNS = (
    "{seq: 'BIGINT', timestamp: 'BIGINT', method: 'VARCHAR', scheme: 'VARCHAR', host: 'VARCHAR', port: 'INTEGER',"
    " path: 'VARCHAR', url: 'VARCHAR', status: 'INTEGER', duration: 'DOUBLE', requestHeaders: 'VARCHAR[][]',"
    " requestBody: 'VARCHAR', responseHeaders: 'VARCHAR[][]', responseBody: 'VARCHAR'}"
)
_ENDPOINTS = (
    "SELECT n FROM (SELECT method, host, regexp_replace(split_part(path, '?', 1), '/[0-9]+', '/{id}', 'g') AS endpoint,"
    " count(*) AS n, count(*) FILTER (status >= 400) AS errors, median(duration) FROM e GROUP BY ALL)"
    " ORDER BY n DESC LIMIT 10"
)


def make(flat: str, folder: str) -> None:
    """Write the file."""
    db = duckdb.connect()
    target = Path(folder) / "exchanges.parquet"
    db.execute(
        f"COPY (SELECT * FROM read_json('{flat}', format = 'newline_delimited', columns = {_COLUMNS})"
        f" ORDER BY seq) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )


def answer(db: Any, ask: str, wanted: dict[str, Any]) -> Any:
    """Answer one question."""
    if ask == "page":
        test, value = (
            ("status // 100 = ?", wanted["status"])
            if "status" in wanted
            else ("contains(lower(url), ?)", wanted["url"])
        )
        rows = db.execute(f"SELECT seq, method, url, status FROM e WHERE {test} ORDER BY seq DESC LIMIT 20", [value])
        return [row[0] for row in rows.fetchall()]
    if ask == "one":
        return [db.execute("SELECT * FROM e WHERE seq = ?", [wanted["seq"]]).fetchall()[0][0]]
    if ask == "text":
        tests = "contains(lower(responseBody), $1) OR contains(lower(requestBody), $1)"
        sql = f"SELECT seq FROM e WHERE {tests} ORDER BY seq LIMIT 20"
        return [row[0] for row in db.execute(sql, [wanted["text"]]).fetchall()]
    if ask == "overview":
        hosts = db.execute("SELECT host, count(*) FROM e GROUP BY host ORDER BY host").fetchall()
        db.execute("SELECT method, status, count(*), avg(duration) FROM e GROUP BY ALL").fetchall()
        return [list(row) for row in hosts]
    if ask == "timeline":
        columns = "timestamp // 60000 * 60000 AS t, count(*), count(*) FILTER (status >= 400)"
        sql = f"SELECT {columns} FROM e GROUP BY t ORDER BY t"
        return [list(row[:2]) for row in db.execute(sql).fetchall()]
    return [row[0] for row in db.execute(_ENDPOINTS).fetchall()]


def opened(folder: str) -> Answer:
    """Open the file of a folder for questions."""
    db = duckdb.connect()
    db.execute(f"CREATE VIEW e AS SELECT * FROM read_parquet('{Path(folder) / 'exchanges.parquet'}')")
    return partial(answer, db)


if __name__ == "__main__":
    run(make, opened)
