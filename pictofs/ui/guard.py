"""Who may ask the page's server, told by the request's head alone. Pure.

It listens on this machine only, and that is not enough: every user of the machine reaches 127.0.0.1, and so
does every web site that a browser on it shows. So

    Host             must be the address that was printed: a name that an attacker has lead here (DNS
                     rebinding) is another
    Origin,          of a browser must say that our own page asks: other sites may send requests too, and
    Sec-Fetch-Site   those from another port of this machine with our cookie
    token            in the printed address, known to whoever has read it; answered by a cookie that scripts
                     cannot read and other sites do not send
"""

from __future__ import annotations

import enum
import hmac
import secrets
from collections.abc import Mapping

TOKEN_BYTES = 32
_OURS = ("same-origin", "none", "")  # none: typed, or opened by a program; "": an old browser, or none


class Verdict(enum.Enum):
    """What becomes of a request."""

    SERVE = "serve"  # it carries our cookie
    ADMIT = "admit"  # it carries the token: give it the cookie
    FOREIGN = "foreign"  # not for this address, or from another site
    STRANGER = "stranger"  # neither token nor cookie


class Guard:
    """Judges the requests to a server on `port` of this machine; `token` opens it."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        # The cookie is no token: what a browser keeps on disk opens nothing once this process has ended.
        self._session = secrets.token_urlsafe(TOKEN_BYTES)
        # Cookies do not know ports: two pages on one machine must not sign each other out.
        self._name = f"pictofs-{port}"
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    def judge(self, headers: Mapping[str, str], token: str | None) -> Verdict:
        """Of a request with these headers (by their lower-case names) and the `token` of its query."""
        host = headers.get("host", "").lower()
        origin = headers.get("origin")
        if host not in self._hosts or (origin is not None and origin.lower() != f"http://{host}"):
            return Verdict.FOREIGN
        if token is not None and _same(token, self.token):
            # A link in another page may carry it: whoever put it there knows it already.
            return Verdict.ADMIT
        if headers.get("sec-fetch-site", "").lower() not in _OURS:
            return Verdict.FOREIGN
        known = _same(self._presented(headers.get("cookie", "")), self._session)
        return Verdict.SERVE if known else Verdict.STRANGER

    def cookie(self) -> str:
        """The value of Set-Cookie for who was admitted."""
        return f"{self._name}={self._session}; HttpOnly; SameSite=Strict; Path=/"

    def _presented(self, cookies: str) -> str:
        # Not http.cookies: it stops at the first cookie that it dislikes, and other programs of this host set
        # theirs.
        pairs = (cookie.strip().partition("=") for cookie in cookies.split(";"))
        return next((value for name, _, value in pairs if name == self._name), "")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
