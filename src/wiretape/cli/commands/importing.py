"""``wiretape import``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import note, print_json
from wiretape.cli.progress import progress
from wiretape.errors import UsageError

EXAMPLES = """\b
Examples:
  wiretape import checkout.har
  wiretape import ~/.proxy-mcp/sessions
  wiretape import ~/.proxy-mcp/sessions/20261123035604_ngk6cukk --name checkout
"""


@click.command("import", epilog=EXAMPLES)
@click.argument("path", metavar="PATH", type=click.Path(exists=True, path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the new session.")
@click.option("--strict", is_flag=True, help="Fail at the first damage, and leave nothing.")
@root_option
@json_option
def command(*, path: Path, name: str | None, strict: bool, root: Path, as_json: bool) -> int:
    """Make sessions of PATH, damaged or not: a HAR file, a session folder of proxy-mcp, or a folder of such.

    Everything that can still be read comes in, in its order and with its times; what cannot is counted.
    """
    from wiretape.model import to_json  # noqa: PLC0415
    from wiretape.session.importing.importer import import_recording  # noqa: PLC0415
    from wiretape.session.importing.recordings import recordings_at  # noqa: PLC0415

    found = recordings_at(path)
    if name is not None and len(found) > 1:
        raise UsageError(f"--name is for one session; {path} holds {len(found)}", hint="import them one by one")
    reports = []
    for recording in found:
        with progress(f"import {recording.name}", quiet=as_json) as report_progress:
            reports.append(import_recording(root, recording, name=name, strict=strict, progress=report_progress))
    if as_json:
        documents = [to_json(report) for report in reports]
        print_json({"status": "success", **(documents[0] if len(documents) == 1 else {"sessions": documents})})
    else:
        for report in reports:
            note(f"{report.session_id} ({report.name}): {report.imported} exchanges, {report.skipped} unreadable")
            for warning in report.warnings[:20]:
                note(f"  {warning}")
    return 1 if any(report.damaged for report in reports) else 0
