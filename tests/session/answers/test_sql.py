"""SQL over a session: what can be read, that nothing else can, and that nothing takes too long or too much."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError, WiretapeError
from wiretape.log.format import Flag, FrameType, MessageSeen
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.sql import VIEWS, SqlAnswer, run_sql
from wiretape.session.session import Session

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
DOCS = Path(__file__).parents[3] / "docs" / "sql.md"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = new_session(tmp_path_factory.mktemp("root"))
    recording = Recording(made)
    recording.tls(7)
    for number in range(5):
        seq = recording.open(f"http://h{number % 2}.example/{number}", headers=f"X-N: {number}\r\n", connection=7)
        recording.done(seq, b"secret body", status=200 + number)
    recording.writer.append(FrameType.MESSAGE, 5, MessageSeen(5_000_000, 1, opcode=1, size=3), b"abc", Flag.LAST)
    recording.open("http://h0.example/running")
    recording.close()
    with Session(made.path, made.session_id) as opened:
        yield opened


def ask(session: Session, query: str, **options: float) -> SqlAnswer:
    return run_sql(session, query, veil=UNVEILED, **options)  # type: ignore[arg-type]


def test_the_views_answer(session: Session) -> None:
    answer = ask(session, "SELECT host, count(*), sum(status) FROM exchanges GROUP BY host ORDER BY host")
    assert answer.rows == [["h0.example", 4, 606], ["h1.example", 2, 404]]
    assert answer.columns == ["host", "count(*)", "sum(status)"]
    answer = ask(session, "SELECT seq, side, value FROM headers WHERE name = 'x-n' ORDER BY seq LIMIT 2")
    assert answer.rows == [[1, "request", "0"], [2, "request", "1"]]
    assert ask(session, "SELECT * FROM messages").rows == [[5, "client", 1, 5.0, 1, "", 3]]
    assert ask(session, "SELECT connection, side, failed FROM connections").rows == [[7, "client", 0]]
    assert ask(session, "SELECT * FROM marks").rows == []
    joined = "SELECT e.seq FROM exchanges e JOIN headers h USING (seq) WHERE h.name = 'x-n' AND h.value = '3'"
    assert ask(session, joined).rows == [[4]]


def test_every_view_is_documented_with_its_columns(session: Session) -> None:
    page = DOCS.read_text()
    for view, columns in VIEWS.items():
        assert ask(session, f"SELECT * FROM {view}").columns == list(columns)
        described = page.partition(f"## `{view}`\n")[2].partition("\n## ")[0]
        assert [line for line in described.splitlines() if line.startswith("| `")] == [
            f"| `{name}` | {meaning} |" for name, meaning in columns.items()
        ]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM exchanges",
        "DROP TABLE main.exchanges",
        "UPDATE main.exchanges SET url = ''",
        "INSERT INTO temp.exchanges VALUES (1)",
        "CREATE TEMP TABLE t (x)",
        "CREATE TEMP VIEW exchanges AS SELECT * FROM main.exchanges",
        "PRAGMA query_only = OFF",
        "ATTACH '/tmp/x.sqlite' AS x",
        "VACUUM INTO '/tmp/x.sqlite'",
        "BEGIN",
        "SELECT * FROM main.exchanges",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM temp.sqlite_master",
        "SELECT * FROM pragma_table_info('exchanges')",
        "SELECT * FROM dbstat",
        "SELECT found FROM header_blocks",
        "WITH exchanges AS (SELECT found FROM main.header_blocks) SELECT * FROM exchanges",
        "WITH headers AS (SELECT * FROM main.exchanges) SELECT * FROM headers",
        "SELECT * FROM (SELECT found FROM main.header_blocks) AS exchanges",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT nothing FROM exchanges",
        "",
        "SELECT '\0'",
    ],
)
def test_nothing_but_the_views_can_be_read_and_nothing_written(session: Session, query: str) -> None:
    with pytest.raises(UsageError) as raised:
        ask(session, query)
    assert "exchanges (seq, timestamp" in raised.value.hint
    assert ask(session, "SELECT count(*) FROM exchanges").rows == [[6]]


def test_rows_time_and_memory_are_bounded(session: Session) -> None:
    answer = ask(session, "SELECT seq FROM exchanges ORDER BY seq", rows=2)
    assert (answer.rows, answer.truncated) == ([[1], [2]], True)
    begun = time.monotonic()
    with pytest.raises(WiretapeError, match=r"longer than 0\.2 s") as raised:
        ask(session, ENDLESS, seconds=0.2)
    assert raised.value.code == "timeout"
    assert time.monotonic() - begun < 5
    for query in (
        "SELECT zeroblob(100000000)",
        "SELECT randomblob(1000000000)",
    ):
        with pytest.raises(UsageError, match="too big"):
            ask(session, query)
    wide = ask(session, "WITH n(i) AS (SELECT 1 UNION ALL SELECT 2) SELECT hex(zeroblob(9000000)) FROM exchanges, n")
    assert wide.truncated
    assert len(wide.rows) == 1
    for name, value in (("rows", 0), ("rows", 10_001), ("seconds", 0), ("seconds", 61)):
        with pytest.raises(UsageError, match=name):
            ask(session, "SELECT 1", **{name: value})


def test_a_query_is_cancelled(session: Session) -> None:
    ended = threading.Event()
    timer = threading.Timer(0.1, ended.set)
    timer.start()
    with pytest.raises(WiretapeError) as raised:
        run_sql(session, ENDLESS, veil=UNVEILED, seconds=30, cancelled=ended.is_set)
    assert raised.value.code == "cancelled"
    timer.join()


def test_cells_are_json(session: Session) -> None:
    assert ask(session, "SELECT x'00ff', 1e999, NULL, 1.5").rows == [["00ff", "inf", None, 1.5]]


class Hiding:
    """A veil that hides digits."""

    def header(self, name: str, value: str) -> str:
        return "{{number}}" if name == "x-n" else value

    def field(self, name: str, value: str) -> str:
        return value

    def text(self, text: str) -> str:
        return text.replace("/4", "/{{number}}")


def test_p18_what_a_veil_hides_can_be_neither_read_nor_asked_for(session: Session) -> None:
    def hidden(query: str) -> list[list[object]]:
        return run_sql(session, query, veil=Hiding()).rows

    assert hidden("SELECT DISTINCT value FROM headers WHERE name = 'x-n'") == [["{{number}}"]]
    assert hidden("SELECT seq FROM headers WHERE name = 'x-n' AND value = '3'") == []
    assert hidden("SELECT url FROM exchanges WHERE seq = 5") == [["http://h0.example/{{number}}"]]
    assert hidden("SELECT seq FROM exchanges WHERE url LIKE '%/4'") == []
