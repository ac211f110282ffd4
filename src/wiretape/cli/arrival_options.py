"""How clients may come to the proxy: the options of ``serve`` for that."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from wiretape.settings import PROXY_AUTH, ArrivalSettings, Server, server_of

F = TypeVar("F", bound=Callable[..., Any])

_PATTERN: Final = re.compile(r"[-A-Za-z0-9._*:]{1,253}").fullmatch


def _servers(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[Server]:
    return [server_of(value) for value in values]


def _hosts(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _PATTERN(value):
            raise click.BadParameter(f"{value[:100]!r} is not a host or a pattern, such as example.com or *.cdn.*.")
    return values


def _credentials(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> str:
    """Return what the file has, else the variable."""
    where = PROXY_AUTH if path is None else str(path)
    text = os.environ.get(PROXY_AUTH, "") if path is None else path.read_text(encoding="utf-8").strip("\r\n")
    if text and (not text.partition(":")[0] or ":" not in text):
        raise click.BadParameter(f"there is no USER:PASSWORD in {where}.")
    if path is not None and not text:
        raise click.BadParameter(f"{where} is empty.")
    return text


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
            click.option(
                "--unix",
                type=click.Path(path_type=Path),
                metavar="PATH",
                help="Listen at a Unix socket, too, which only this user reaches.",
            ),
            click.option(
                "--pass",
                "pass_hosts",
                multiple=True,
                callback=_hosts,
                metavar="HOST",
                help="Do not intercept the TLS of HOST and what is below it; * stands for any letters.",
            ),
            click.option(
                "--pass-refused",
                is_flag=True,
                help="Nor that of hosts for which a client has refused wiretape's certificate.",
            ),
            click.option(
                "--proxy-auth",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                callback=_credentials,
                metavar="FILE",
                help="Ask clients for the USER:PASSWORD in FILE. [default: $WIRETAPE_PROXY_AUTH, else nobody is asked]",
            ),
        ]
    ):
        function = option(function)
    return function


def arrivals_from(options: dict[str, Any]) -> ArrivalSettings:
    """Take what ``arrival_options`` gave out of ``options``, and return it as a setting."""
    return ArrivalSettings(
        reverse=tuple(options.pop("reverse")),
        pass_hosts=options.pop("pass_hosts"),
        pass_refused=options.pop("pass_refused"),
        credentials=options.pop("proxy_auth"),
        unix=None if (unix := options.pop("unix")) is None else unix.absolute(),
    )
