"""A recording as a file of Parquet, asked by DuckDB: what a column store makes of the same questions.

Run by an interpreter that has DuckDB::

    python duckdb_parquet.py make FLAT FOLDER
    python duckdb_parquet.py ask FOLDER CALLS QUESTIONS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb  # type: ignore[import-not-found]

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


def main() -> None:
    """Make, or ask."""
    what, *rest = sys.argv[1:]
    if what == "make":
        make(*rest)
        return
    folder, calls, questions = rest
    db = duckdb.connect()
    db.execute(f"CREATE VIEW e AS SELECT * FROM read_parquet('{Path(folder) / 'exchanges.parquet'}')")
    found = {}
    for question in json.loads(questions):
        key, ask = question.pop("key"), question.pop("ask")
        times: list[float] = []
        result = None
        for _ in range(int(calls)):
            begun = time.perf_counter()
            result = answer(db, ask, question)
            times.append((time.perf_counter() - begun) * 1000)
        found[key] = {"times": times, "answer": result}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
