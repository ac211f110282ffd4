"""Everything that the index makes of a log, in one list."""

from __future__ import annotations

from typing import Final

from wiretape.session.index.audits import AuditProjection
from wiretape.session.index.connections import Connections
from wiretape.session.index.endpoints import Endpoints
from wiretape.session.index.exchanges import Exchanges
from wiretape.session.index.headers import Headers
from wiretape.session.index.marks import Marks
from wiretape.session.index.messages import Messages
from wiretape.session.index.projection import Projection
from wiretape.session.index.refusals import Refusals

PROJECTIONS: Final[tuple[Projection, ...]] = (
    Exchanges(),
    AuditProjection(),
    Connections(),
    Refusals(),
    Endpoints(),
    Headers(),
    Messages(),
    Marks(),
)
