"""``wiretape ca``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import print_json, write_line

EXAMPLES = """\b
Examples:
  curl --proxy http://127.0.0.1:8080 --cacert "$(wiretape ca path)" https://example.com/
  wiretape ca show > wiretape-ca.pem
"""


@click.command("ca", epilog=EXAMPLES)
@click.argument("what", type=click.Choice(["path", "show"]), default="path")
@root_option
@json_option
def command(*, what: Literal["path", "show"], root: Path, as_json: bool) -> None:
    """Print the path of the CA certificate (`path`) or the certificate itself (`show`).

    The CA is made once per root, on first use. Clients that are to be recorded over HTTPS must trust it; its key never
    leaves the root.
    """
    # Late: cryptography costs more than all the rest of the command.
    from wiretape.tls.authority import CertificateAuthority  # noqa: PLC0415

    authority = CertificateAuthority.load_or_create(root)
    certificate = authority.cert_pem.decode()
    if as_json:
        fingerprint = authority.fingerprint_sha256
        print_json({"path": str(authority.cert_path), "certificate": certificate, "certFingerprint": fingerprint})
    else:
        write_line(str(authority.cert_path) if what == "path" else certificate.rstrip("\n"))
