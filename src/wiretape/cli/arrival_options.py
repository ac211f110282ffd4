"""How clients may come to the proxy: the options of ``serve`` for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from wiretape.config import parse_server
from wiretape.settings import ArrivalSettings, Server, from_wire

F = TypeVar("F", bound=Callable[..., Any])


def _servers(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[Server]:
    return [
        from_wire(Server, dict(zip(("scheme", "host", "port"), parse_server(value), strict=True))) for value in values
    ]


def arrival_options(function: F) -> F:
    """Add the options; the command gets them in its ``**options``, for ``arrivals_from``."""
    for option in reversed(
        [
            click.option(
                "--reverse",
                multiple=True,
                callback=_servers,
                metavar="URL",
                help="Answer requests without a proxy too, as this server; several: the host asked for picks.",
            ),
        ]
    ):
        function = option(function)
    return function


def arrivals_from(options: dict[str, Any]) -> ArrivalSettings:
    """Take what ``arrival_options`` gave out of ``options``, and return it as a setting."""
    return ArrivalSettings(reverse=tuple(options.pop("reverse")))
