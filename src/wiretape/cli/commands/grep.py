"""``wiretape grep``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wiretape.cli.commands.query import describe_coverage
from wiretape.cli.options import filter_options, json_option, make_filter, open_catalogue, root_option, session_argument
from wiretape.cli.output import fitted, note, print_value, styled, visible, width_of, write_line
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.session.answers.search import Search, SearchCoverage, SearchItem

EXAMPLES = """\b
Examples:
  wiretape grep last 'card declined'
  wiretape grep checkout c_a38dc51642 --in response
  wiretape grep last --regex '[\\w.+-]+@[\\w-]+\\.[\\w.]+' --host api.example.com
  wiretape grep last ada@example.com --json | jq '.items[] | [.seq, .in]'
"""


@click.command("grep", epilog=EXAMPLES)
@session_argument
@click.argument("pattern", metavar="PATTERN")
@click.option("--regex", is_flag=True, help="PATTERN is a regular expression (RE2).")
@click.option("--case-sensitive", is_flag=True, help="Upper and lower case differ.")
@click.option(
    "--in",
    "sides",
    type=click.Choice(["request", "response", "both"]),
    default="both",
    show_default=True,
    help="Whose headers and body.",
)
@click.option("--content-type", metavar="T", help="Only bodies whose Content-Type has T in it.")
@filter_options
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Most exchanges to give.")
@click.option("--cursor", metavar="C", help="Go on where an earlier page ended.")
@click.option("--count", is_flag=True, help="Look at everything, to say how many match.")
@root_option
@json_option
def command(
    *,
    session: str,
    pattern: str,
    regex: bool,
    case_sensitive: bool,
    sides: Literal["request", "response", "both"],
    content_type: str | None,
    limit: int,
    cursor: str | None,
    count: bool,
    root: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find PATTERN in URLs, headers, decoded bodies and messages of SESSION, oldest first.

    A text is looked for in every encoding in which it may stand: as it is, percent, base64, JSON escapes, in JWTs, in
    hexadecimal. Exit status: 0 found, 1 not found.
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.search import Search, search  # noqa: PLC0415
    from wiretape.session.query.needles import Needle  # noqa: PLC0415

    options: dict[str, Any] = {"sides": sides, "wanted": make_filter(filters), "content_type": content_type}
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if as_json:
            page = search(
                opened,
                pattern,
                veil=UNVEILED,
                regex=regex,
                case_sensitive=case_sensitive,
                limit=limit,
                cursor=cursor,
                count=count,
                **options,
            )
            print_value(page)
            found = page.returned
        else:
            needle = Needle(pattern, regex=regex, case_sensitive=case_sensitive)
            found = _print_hits(Search(opened, needle, veil=UNVEILED, cursor=cursor, **options), limit, count=count)
    if not found:
        click.get_current_context().exit(1)


def _print_hits(job: Search, limit: int, *, count: bool) -> int:
    """Print each hit when it is found; return how many exchanges match."""
    found, last, whole = 0, 0, True
    for item in job.items():
        found += 1
        if found <= limit:
            _print_item(item)
            last = item.seq
        elif not count:
            whole = False
            break
        job.brief = found >= limit
    coverage = job.coverage(empty=not found, whole=whole)
    if not found:
        note("Nothing matches.")
    shown = min(found, limit)
    total = f"{shown} of {found} matching exchanges" if whole else f"{shown} shown, and there are more"
    note(f"{total}; {_searched(coverage, whole=whole)}")
    if found > limit:
        note(f"more: --cursor {job.cursor(last, job.seen + shown)}")
    return found


def _print_item(item: SearchItem) -> None:
    """Print one exchange: a line that names it, and one for what is around the hit."""
    encoding = "" if item.encoding == "plain" else f" ({item.encoding})"
    status = "-" if item.status_code is None else str(item.status_code)
    if not sys.stdout.isatty():
        write_line("\t".join(map(visible, (str(item.seq), item.method, status, item.url, item.in_, item.snippet))))
        return
    write_line(fitted(visible(f"{item.seq:>6}  {item.method} {status}  {item.url}")))
    where = visible(item.in_ + encoding)
    write_line("        " + styled(where, "cyan") + "  " + fitted(visible(item.snippet), 10 + width_of(where)))
    if item.also:
        write_line(fitted("        also " + visible(", ".join(item.also))))


def _searched(coverage: SearchCoverage, *, whole: bool) -> str:
    """Say what was searched, and what could not be."""
    parts = [f"{coverage.searched:,} searched"]
    parts.append(describe_coverage(coverage) if whole else "those behind them were not looked at (--count does)")
    for reason, count in coverage.not_searched.items():
        seqs = ", ".join(map(str, coverage.missing.get(reason, [])[:5]))
        more = ", ..." if count > 5 else ""
        parts.append(f"not searched: {count} ({reason}): {seqs}{more}")
    return "; ".join(parts)
