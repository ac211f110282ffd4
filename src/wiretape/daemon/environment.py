"""The environment of a command that is recorded: everything through the proxy, the proxy's CA trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""curl reads only the lower-case ``http_proxy``, most others either; all are set so that none is missed."""

BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL and what is built on it: Python's ssl, Ruby, PHP; Go
    "NIX_SSL_CERT_FILE",  # the same, as Nix builds them
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",  # npm's own cafile replaces NODE_EXTRA_CA_CERTS, and a variable replaces any .npmrc
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
    "COMPOSER_CAFILE",
    "PERL_LWP_SSL_CA_FILE",
    "HTTPLIB2_CA_CERTS",
)
"""Variables whose file replaces the system's roots: they get all roots and our CA together."""

EXTRA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose file is trusted besides the system's roots: what they named before, and our CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The files that tell a command's programs what to trust.

    Attributes:
        bundle: the system's roots, what was trusted before, and our CA.
        extra: what was trusted before, and our CA.
        wgetrc: wget's settings with the bundle in them: it has no variable for roots.
        curl_home: a folder with curl's settings that name the bundle, where they named something else; a setting is
            stronger than the variable.
    """

    bundle: Path
    extra: Path
    wgetrc: Path
    curl_home: Path | None = None


def environment(base: Mapping[str, str], *, proxy: str, trust: Trust, keep_no_proxy: bool = False) -> dict[str, str]:
    """Return the command's environment: everything through the proxy, our CA trusted.

    Args:
        base: the environment to start from.
        proxy: the proxy's URL.
        trust: the files that say what to trust.
        keep_no_proxy: leave the exceptions alone; without it even localhost is recorded.
    """
    # npm takes its variables in any case, and the last one that it finds.
    made = {name: value for name, value in base.items() if name.lower() != "npm_config_cafile"}
    made |= dict.fromkeys(PROXY_VARIABLES, proxy)
    made |= dict.fromkeys(BUNDLE_VARIABLES, str(trust.bundle))
    made |= dict.fromkeys(EXTRA_VARIABLES, str(trust.extra))
    made["WGETRC"] = str(trust.wgetrc)
    if trust.curl_home is not None:
        made["CURL_HOME"] = str(trust.curl_home)
    # Node looks at the proxy variables since version 24, and only when told to.
    made["NODE_USE_ENV_PROXY"] = "1"
    if not keep_no_proxy:
        made.pop("no_proxy", None)
        made.pop("NO_PROXY", None)
    return made
