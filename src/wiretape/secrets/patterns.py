"""Secrets that look like what they are: key formats that their issuers document, tokens, cards, and e-mail addresses.

Facts, each with its source; the expressions are written for this table. RE2 takes them in linear time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

EMAIL: Final = "email"
"""Personal, not secret: shown, listed, and replaced by ``--redact``."""


class Pattern(NamedTuple):
    """One format.

    Attributes:
        kind: what handles call it.
        prefix: the letters with which each begins, as an expression.
        rest: the expression of the characters that follow.
        least: characters of the whole at least: what is shorter is something else.
        source: where the format is described.
    """

    kind: str
    prefix: str
    rest: str
    least: int
    source: str


_WORD: Final = "[A-Za-z0-9_]+"
_DASHED: Final = "[A-Za-z0-9_-]+"
_ALNUM: Final = "[A-Za-z0-9]+"

PATTERNS: Final[tuple[Pattern, ...]] = (
    Pattern("jwt", "eyJ", r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)+", 24, "RFC 7519, RFC 7516"),
    Pattern("aws-key-id", "(?:AKIA|ASIA|ABIA|ACCA)", "[A-Z2-7]+", 20, "docs.aws.amazon.com, IAM identifiers"),
    Pattern("github-token", "gh[pousr]_", _WORD, 36, "github.blog, behind GitHub's new token formats"),
    Pattern("github-token", "github_pat_", _WORD, 40, "docs.github.com, personal access tokens"),
    Pattern(
        "gitlab-token",
        "gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-",
        r"[A-Za-z0-9_.-]+",
        20,
        "docs.gitlab.com, token overview",
    ),
    Pattern("slack-token", "xox[abeoprs]-", "[A-Za-z0-9-]+", 20, "api.slack.com, token types"),
    Pattern("slack-token", "xapp-", "[A-Za-z0-9-]+", 20, "api.slack.com, token types"),
    Pattern("slack-webhook", r"hooks\.slack\.com/services/", "[A-Za-z0-9/]+", 50, "api.slack.com, incoming webhooks"),
    Pattern("stripe-key", "(?:sk|rk)_(?:live|test)_", _ALNUM, 20, "docs.stripe.com, API keys"),
    Pattern("stripe-webhook", "whsec_", "[A-Za-z0-9+/=]+", 24, "docs.stripe.com, webhook signatures"),
    Pattern("card-token", "(?:tok|pm|card|src)_", _WORD, 12, "docs.stripe.com, object ids of payment methods"),
    Pattern("openai-key", "sk-(?:proj-|svcacct-|admin-)?", _DASHED, 24, "platform.openai.com, API keys"),
    Pattern("anthropic-key", "sk-ant-", _DASHED, 30, "docs.anthropic.com, API keys"),
    Pattern("google-key", "AIza", _DASHED, 39, "cloud.google.com, API keys"),
    Pattern("google-token", r"ya29\.", r"[A-Za-z0-9_.-]+", 30, "cloud.google.com, token types"),
    Pattern("google-secret", "GOCSPX-", _DASHED, 30, "developers.google.com, OAuth clients"),
    Pattern("azure-secret", "[A-Za-z0-9_~.]{3}8Q~", r"[A-Za-z0-9_~.-]+", 38, "learn.microsoft.com, client secrets"),
    Pattern("npm-token", "npm_", _ALNUM, 36, "docs.npmjs.com, access tokens"),
    Pattern("pypi-token", "pypi-AgE", _DASHED, 50, "pypi.org/help, API tokens"),
    Pattern("docker-token", "dckr_(?:pat|oat)_", _DASHED, 30, "docs.docker.com, access tokens"),
    Pattern("digitalocean-token", "do[opr]_v1_", "[a-f0-9]+", 64, "docs.digitalocean.com, personal access tokens"),
    Pattern("sendgrid-key", r"SG\.", r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", 50, "docs.sendgrid.com, API keys"),
    Pattern("mailgun-key", "key-", "[a-f0-9]+", 36, "documentation.mailgun.com, API keys"),
    Pattern("twilio-key", "SK", "[a-f0-9]+", 34, "twilio.com/docs, API keys"),
    Pattern("telegram-token", "[0-9]+:AA", _DASHED, 43, "core.telegram.org/bots, authorising a bot"),
    Pattern("shopify-token", "shp(?:at|ca|pa|ss)_", "[a-fA-F0-9]+", 38, "shopify.dev, access tokens"),
    Pattern("square-token", "sq0(?:atp|csp)-", _DASHED, 29, "developer.squareup.com, access tokens"),
    Pattern("huggingface-token", "hf_", _ALNUM, 34, "huggingface.co/docs, user access tokens"),
    Pattern("linear-key", "lin_api_", _ALNUM, 40, "linear.app/developers, API keys"),
    Pattern("notion-token", "(?:ntn|secret)_", _ALNUM, 44, "developers.notion.com, authorization"),
    Pattern("vault-token", r"hv[sbr]\.", _DASHED, 28, "developer.hashicorp.com, vault tokens"),
    Pattern("grafana-token", "(?:glsa|glc)_", "[A-Za-z0-9_+/=]+", 40, "grafana.com/docs, service accounts"),
    Pattern("databricks-token", "dapi", "[a-f0-9]+", 36, "docs.databricks.com, personal access tokens"),
    Pattern("doppler-token", r"dp\.(?:pt|st|ct|sa)\.", r"[A-Za-z0-9_.-]+", 40, "docs.doppler.com, token formats"),
    Pattern("age-key", "AGE-SECRET-KEY-1", "[A-Z0-9]+", 70, "age-encryption.org, the format"),
)
