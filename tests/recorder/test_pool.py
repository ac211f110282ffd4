"""The pool of connections to servers: who gets which, and how many exchanges one of them serves at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Self, cast

import pytest

from wiretape.errors import NetworkError
from wiretape.recorder import pool as pools
from wiretape.recorder.exchange_log import ConnectTimes
from wiretape.recorder.pool import Pool
from wiretape.recorder.ports import Timeouts
from wiretape.recorder.route import Route

ROUTE = Route("http", "example.com", 80)
OTHER = Route("https", "example.com", 443)
ALICE, BOB = 1, 2


class Transport:
    """A transport that says whether it is about to close."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing


class Connection:
    """A connection as the pool sees it, for as many exchanges at a time as the test likes."""

    def __init__(self, route: Route = ROUTE, capacity: int = 1) -> None:
        self.route = route
        self.capacity = capacity
        self.shared = capacity > 1
        self.running = 1
        self.owner = 0
        self.closed = False
        self.idle_since = 0.0
        self.transport = Transport()
        self.told: list[str] = []

    def lease(self, tenant: int) -> Self:
        return self

    def tick(self, now: int, timeouts: Timeouts) -> None:
        self.told.append("tick")

    def abort(self) -> None:
        self.closed = True
        self.told.append("abort")

    def close(self) -> None:
        self.told.append("close")

    def break_off(self) -> None:
        self.told.append("break off")


class Dialer:
    """Gives the connection that the test has laid down."""

    def __init__(self) -> None:
        self.next = Connection()

    async def connect(self, route: Route, keeper: Any) -> tuple[Connection, ConnectTimes]:
        return self.next, ConnectTimes(0, 0, -1)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def pool(loop: asyncio.AbstractEventLoop) -> Iterator[Pool]:
    made = Pool(loop, cast(Any, Dialer()), Timeouts())
    yield made
    made.close()


def put(pool: Pool, connection: Connection) -> None:
    pool.put(cast(Any, connection))


def take(pool: Pool, client: int) -> Any:
    return pool.take(ROUTE, client)


def test_the_connection_used_last_is_leased_first_and_to_one_exchange_at_a_time(pool: Pool) -> None:
    first, second = Connection(), Connection()
    put(pool, first)
    put(pool, second)
    assert [take(pool, ALICE), take(pool, BOB), take(pool, BOB)] == [second, first, None]


def test_a_connection_is_leased_for_its_own_route_only(pool: Pool) -> None:
    put(pool, Connection(OTHER))
    assert take(pool, ALICE) is None


@pytest.mark.parametrize("how", ["closed", "closing"])
def test_a_connection_that_is_gone_is_not_leased(pool: Pool, how: str) -> None:
    alive, gone = Connection(), Connection()
    put(pool, alive)
    put(pool, gone)
    gone.closed = how == "closed"
    gone.transport.closing = how == "closing"
    assert take(pool, ALICE) is alive
    assert take(pool, ALICE) is None


def test_a_connection_with_room_for_more_is_leased_until_it_is_full_and_again_when_it_is_not(
    loop: asyncio.AbstractEventLoop,
) -> None:
    dialer = Dialer()
    dialer.next = connection = Connection(capacity=3)
    pool = Pool(loop, cast(Any, dialer), Timeouts())
    loop.run_until_complete(pool.connect(ROUTE))
    assert [take(pool, ALICE) for _ in range(3)] == [connection, connection, None]
    put(pool, connection)
    assert [take(pool, BOB) for _ in range(2)] == [connection, None]
    for _ in range(3):
        put(pool, connection)
    assert [take(pool, BOB) for _ in range(4)] == [connection, connection, connection, None]
    pool.close()


@pytest.mark.parametrize(("before", "after"), [(100, 2), (1, 3)])
def test_a_server_may_change_how_many_exchanges_its_connection_takes_while_they_run(
    loop: asyncio.AbstractEventLoop, before: int, after: int
) -> None:
    dialer = Dialer()
    dialer.next = connection = Connection(capacity=before)
    connection.shared = True
    pool = Pool(loop, cast(Any, dialer), Timeouts())
    loop.run_until_complete(pool.connect(ROUTE))
    while take(pool, ALICE) is not None:
        pass
    connection.capacity = after
    for _ in range(before):
        put(pool, connection)
    for _ in range(3 * pools.IDLE_PER_ROUTE):  # it is in its list once, however often it changes its mind
        connection.capacity = after
        assert [take(pool, BOB) for _ in range(after + 1)] == [connection] * after + [None]
        connection.capacity = before
        for _ in range(after):
            put(pool, connection)
    assert (connection.running, connection.told) == (0, [])
    pool.close()


def test_a_connection_that_takes_no_more_exchanges_hears_the_time_until_the_last_has_ended(
    loop: asyncio.AbstractEventLoop,
) -> None:
    dialer = Dialer()
    dialer.next = connection = Connection(capacity=3)
    pool = Pool(loop, cast(Any, dialer), Timeouts())
    loop.run_until_complete(pool.connect(ROUTE))
    connection.closed = True
    pool._tick()
    assert connection.told == ["tick"]
    connection.running = 0
    connection.idle_since = loop.time()
    pool._tick()
    assert connection.told == ["tick", "abort"]
    pool.close()


@pytest.mark.parametrize("protocol", ["", "h2"])
def test_whoever_waits_for_a_connection_hears_of_it_whatever_went_wrong(
    loop: asyncio.AbstractEventLoop, protocol: str
) -> None:
    class Faulty(Dialer):
        async def connect(self, route: Route, keeper: Any) -> tuple[Connection, ConnectTimes]:
            raise ValueError("nobody thought of that")

    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    pool = Pool(loop, cast(Any, Faulty()), Timeouts())
    seekers = [Seeker(), Seeker()]
    for seeker in seekers:
        pool.seek(ROUTE._replace(protocol=protocol), ALICE, seeker)
    for _ in range(4):
        loop.run_until_complete(asyncio.sleep(0))
    for seeker in seekers:
        (error,) = seeker.heard
        assert isinstance(error, NetworkError)
        assert "nobody thought of that" in error.message
    assert complaints
    pool.close()


def test_p14_a_connection_with_an_owner_is_leased_to_that_client_alone_and_ends_with_it(pool: Pool) -> None:
    shared, own = Connection(), Connection()
    put(pool, shared)
    own.owner = ALICE
    put(pool, own)
    assert take(pool, BOB) is shared
    assert take(pool, BOB) is None
    assert take(pool, ALICE) is own
    put(pool, own)
    pool.owner_left(BOB)
    assert own.told == []
    pool.owner_left(ALICE)
    assert own.told == ["abort"]
    assert take(pool, ALICE) is None


def test_p8_no_more_than_so_many_idle_connections_are_kept_for_a_route(pool: Pool) -> None:
    connections = [Connection() for _ in range(pools.IDLE_PER_ROUTE + 2)]
    for connection in connections:
        put(pool, connection)
    assert sum(connection.closed for connection in connections) == 2


def test_a_connection_that_is_made_is_watched_and_told_when_the_pool_is_closed(
    loop: asyncio.AbstractEventLoop,
) -> None:
    dialer = Dialer()
    pool = Pool(loop, cast(Any, dialer), Timeouts())
    connection, _ = loop.run_until_complete(pool.connect(ROUTE))
    assert connection is cast(Any, dialer.next)
    pool.close()
    assert dialer.next.told == ["break off"]


class Seeker:
    """An exchange that wants a connection, and notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connected(self, upstream: object, times: ConnectTimes) -> None:
        self.heard.append(upstream)

    def unreachable(self, error: Exception) -> None:
        self.heard.append(error)


def test_a_client_that_is_not_there_any_more_hears_nothing_of_the_connection_it_wanted(
    loop: asyncio.AbstractEventLoop, pool: Pool
) -> None:
    gone, there = Seeker(), Seeker()
    search = pool.seek(ROUTE, ALICE, gone)
    search.cancel()
    pool.seek(ROUTE, BOB, there)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert (len(gone.heard), len(there.heard)) == (0, 1)


class Deaf(Dialer):
    """Is so far that it takes no notice of being given up, as ``asyncio.wait_for`` was before Python 3.12."""

    def __init__(self, error: NetworkError | None) -> None:
        super().__init__()
        self.error = error

    async def connect(self, route: Route, keeper: Any) -> tuple[Connection, ConnectTimes]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        if self.error is not None:
            raise self.error
        return await super().connect(route, keeper)


@pytest.mark.parametrize("error", [None, NetworkError("unreachable")])
def test_p1_a_search_that_was_given_up_too_late_is_not_heard_of_and_its_connection_is_there_for_the_next(
    loop: asyncio.AbstractEventLoop, error: NetworkError | None
) -> None:
    pool = Pool(loop, cast(Any, Deaf(error)), Timeouts())
    gone = Seeker()
    search = cast("asyncio.Task[None]", pool.seek(ROUTE, ALICE, gone))
    loop.run_until_complete(asyncio.sleep(0))
    search.cancel()
    loop.run_until_complete(search)
    assert gone.heard == []
    assert (take(pool, BOB) is None) is (error is not None)
    pool.close()


H2_ROUTE = Route("https", "example.com", 443, "", "h2")


def test_all_who_look_for_a_server_of_http2_meanwhile_share_the_connection_that_is_made(
    loop: asyncio.AbstractEventLoop,
) -> None:
    dialer = Dialer()
    dialer.next = connection = Connection(H2_ROUTE, capacity=10)
    pool = Pool(loop, cast(Any, dialer), Timeouts())
    seekers = [Seeker() for _ in range(4)]
    searches = [pool.seek(H2_ROUTE, ALICE, seeker) for seeker in seekers]
    searches[1].cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    assert [seeker.heard for seeker in seekers] == [[connection], [], [connection], [connection]]
    assert connection.running == 3
    pool.close()


def test_all_who_look_for_a_server_of_http2_that_speaks_http1_get_a_connection_each(
    loop: asyncio.AbstractEventLoop,
) -> None:
    made: list[Connection] = []

    class OneByOne(Dialer):
        async def connect(self, route: Route, keeper: Any) -> tuple[Connection, ConnectTimes]:
            made.append(Connection(route._replace(protocol="")))
            return made[-1], ConnectTimes(0, 0, -1)

    pool = Pool(loop, cast(Any, OneByOne()), Timeouts())
    seekers = [Seeker() for _ in range(3)]
    for seeker in seekers:
        pool.seek(H2_ROUTE, ALICE, seeker)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert [seeker.heard for seeker in seekers] == [[connection] for connection in made]
    pool.close()


def test_a_connection_that_takes_no_more_is_closed_after_its_last_exchange(pool: Pool) -> None:
    leaving = Connection(capacity=3)
    leaving.running = 2
    leaving.closed = True
    put(pool, leaving)
    assert leaving.told == []
    put(pool, leaving)
    assert leaving.told == ["close"]
    assert take(pool, ALICE) is None


def test_who_asks_what_a_server_speaks_waits_for_a_while_only(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "ASK_SECONDS", 0.01)
    pool = Pool(loop, cast(Any, Deaf(None)), Timeouts())
    loop.run_until_complete(asyncio.wait_for(pool.ask(ROUTE), 10))
    (asking,) = asyncio.all_tasks(loop)  # it goes on, and what comes of it is kept
    asking.cancel()
    loop.run_until_complete(asking)
    assert take(pool, ALICE) is not None
    pool.close()
