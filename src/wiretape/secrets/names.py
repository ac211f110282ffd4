"""Names that say that their value is a secret: of headers, of fields in JSON and forms, of cookies."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_EXACT: Final[dict[str, str]] = {
    "pass": "password",
    "pwd": "password",
    "passwd": "password",
    "passcode": "password",
    "auth": "token",
    "authorization": "token",
    "proxyauthorization": "token",
    "xauth": "token",
    "bearer": "token",
    "credential": "credential",
    "credentials": "credential",
    "jwt": "token",
    "signature": "signature",
    "sig": "signature",
    "xamzsignature": "signature",
    "xgoogsignature": "signature",
    "sid": "session",
    "sessid": "session",
    "sessionid": "session",
    "sessionkey": "session",
    "jsessionid": "session",
    "phpsessid": "session",
    "connectsid": "session",
    "aspnetsessionid": "session",
    "session": "session",
    "csrf": "csrf",
    "xsrf": "csrf",
    "csrfmiddlewaretoken": "csrf",
    "xcsrf": "csrf",
    "otp": "otp",
    "totp": "otp",
    "otpcode": "otp",
    "mfacode": "otp",
    "verificationcode": "otp",
    "codeverifier": "code-verifier",
    "clientassertion": "assertion",
    "assertion": "assertion",
    "samlresponse": "assertion",
    "cvv": "card-code",
    "cvc": "card-code",
    "cvv2": "card-code",
    "cvc2": "card-code",
    "cardnumber": "card",
    "ccnumber": "card",
    "rememberme": "session",
}
"""Names without separators, in lower case, and the kind of what they name."""
_PASSWORD: Final = ("password", "passphrase")
_KEYS: Final = (
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "subscriptionkey",
    "functionskey",
    "authkey",
    "encryptionkey",
    "sharedkey",
    "masterkey",
    "servicekey",
)
_NO_TOKENS: Final = ("page", "next", "continuation", "sync", "cursor", "max", "device")
"""Words that make a token the place in a list, and no secret."""


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str | None:
    """Return the kind of secret that a name of a header or field speaks of; None where it speaks of none."""
    if len(name) > 100:
        return None
    plain = _SEPARATORS.sub("", name.lower())
    found = _EXACT.get(plain)
    if found is not None:
        return found
    if any(word in plain for word in _PASSWORD):
        return "password"
    if any(word in plain for word in _KEYS):
        return "api-key"
    if "csrf" in plain or "xsrf" in plain:
        return "csrf"
    if plain.endswith(("secret", "clientsecret")):
        return "secret"
    if plain.endswith("token") and not any(word in plain for word in _NO_TOKENS):
        return "refresh-token" if "refresh" in plain else "token"
    return "session" if plain.endswith("sessionid") else None
