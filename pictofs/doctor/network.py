"""The way to the service: proxy, DNS, TLS, the clock, then the key, its role, the dialect and the budget."""

from __future__ import annotations

import datetime
import os
import queue
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pictofs.api import Budget, Client
from pictofs.api.address import Address
from pictofs.api.times import http_date_s
from pictofs.api.wire import Broken, Call, Wire
from pictofs.config import Profile, Settings
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.errors import KeyRefused, PictofsError, TransferError
from pictofs.mount import keys
from pictofs.storage import Get, Got, Transfers
from pictofs.storage.environment import ca_bundle, proxy_for

LIMIT_S = 10.0           # of each step
SKEW_S = 5.0             # beyond, the life of a signed URL is misjudged
SKEW_LIMIT_S = 300.0     # URLs of the usual life seem over when they come, or good when they are over
CERTIFICATE_DAYS = 14
LOW_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """How far one got without the key. The first `…_error` that is set is where it ended."""

    origin: str
    proxy: str = ""                       # without its password
    proxy_error: str = ""
    addresses: tuple[str, ...] = ()
    dns_error: str = ""
    tls: str = ""                         # "" for plain http, and behind a proxy
    tls_error: str = ""
    certificate_ends_s: float | None = None
    answer_error: str = ""
    skew_s: float | None = None           # how far our clock is ahead; None: the service does not say
    round_trip_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Storage:
    """How the host of the signed URLs answered for one byte; "" where nothing could be asked for."""

    host: str = ""
    error: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the service says under the key; `error` where it says no."""

    error: PictofsError | None = None
    organization: str = ""
    names: tuple[str, ...] = ()           # that SOURCE may name it by
    role: str = ""
    dialect: str = ""
    budget: Budget | None = None
    storage: Storage | None = None


def way(profile: Profile, settings: Settings) -> Way:
    """Goes there, step by step, without the key."""
    origin = Address.parse(profile.base_url).origin
    try:
        proxy = proxy_for(origin, settings.proxy)
    except TransferError as error:
        return Way(origin, proxy_error=str(error))
    shown = _without_password(proxy)
    near = urlsplit(proxy or origin)
    port = near.port or (443 if near.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(near.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Way(origin, shown, dns_error=getattr(error, "strerror", "") or str(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    tls, ends_s = "", None
    if near.scheme == "https" and not proxy:
        try:
            tls, ends_s = _handshake(near.hostname or "", port, ca_bundle(settings.ca_file))
        except (OSError, ValueError) as error:
            return Way(origin, shown, addresses=addresses, tls_error=_why(error))
    return _asked(profile, settings, Way(origin, shown, "", addresses, "", tls, "", ends_s))


def standing(profile: Profile, settings: Settings, api_key: str) -> Standing:
    """Asks whose the key is, and the storage host for a byte of some image: a handful of requests."""
    try:
        with Client(
            profile.base_url, lambda: api_key, dialect=profile.dialect, timeout_s=LIMIT_S, retries=1,
            ca_file=settings.ca_file, proxy=settings.proxy,
        ) as client:  # fmt: skip
            me = client.organization.me()
            names = (me.name, me.slug, me.id) if me.id or me.slug else ()  # dialect A does not say
            name = me.name if names else ""
            byte = _byte(client, settings)
            return Standing(None, name, names, me.role, client.dialect, client.budget, byte)
    except PictofsError as error:
        return Standing(error)


def key_of(profile: Profile, environ: Mapping[str, str]) -> tuple[str, Finding]:
    """(the key, "" for none; whether it is to be had)."""
    try:
        return keys.read(profile, environ), good("key", f"from {_place(profile, environ)}")
    except PictofsError as error:
        what, _, mend = str(error).partition(": ")
        return "", bad("key", what, mend or "set api_key_file, a file of mode 0600")


def way_checks(found: Way, now_s: float) -> Iterator[Finding]:
    """One for each step that was come to."""
    yield proxy(found)
    if found.proxy_error:
        return
    yield dns(found)
    if found.dns_error:
        return
    if found.origin.startswith("https") and (found.tls or found.tls_error):
        yield tls(found, now_s)
    if found.tls_error:
        return
    yield answer(found)
    if not found.answer_error:
        yield clock(found)


def proxy(found: Way) -> Finding:
    """The proxy, by setting or environment."""
    if found.proxy_error:
        return bad("proxy", found.proxy_error, "set proxy=URL, as http://host:3128, or mend https_proxy")
    return good("proxy", found.proxy or "none")


def dns(found: Way) -> Finding:
    """Names to addresses."""
    host = urlsplit(found.proxy or found.origin).hostname
    if found.dns_error:
        which = "proxy" if found.proxy else "base_url"
        return bad("DNS", f"{host}: {found.dns_error}", f"see whether {which} is right, and /etc/resolv.conf")
    return good("DNS", f"{host} is {', '.join(found.addresses[:3])}")


def tls(found: Way, now_s: float) -> Finding:
    """Whether the service's certificate is trusted, and for how long it is good."""
    if found.tls_error:
        mend = "where a company's proxy opens TLS, set ca_file to its certificate; or mend the clock"
        return bad("TLS", f"{found.origin}: {found.tls_error}", mend)
    if found.certificate_ends_s is not None:
        days = int((found.certificate_ends_s - now_s) // 86_400)
        if days < CERTIFICATE_DAYS:
            what = f"{found.tls}, and the service's certificate ends in {days} days"
            return poor("TLS", what, "tell who runs the service, or the proxy in between")
    return good("TLS", found.tls)


def answer(found: Way) -> Finding:
    """Whether something answers."""
    if found.answer_error:
        mend = "see whether base_url and proxy are right, and whether a firewall stands in between"
        return bad("service", f"{found.origin}: {found.answer_error}", mend)
    return good("service", f"{found.origin} answers in {found.round_trip_s * 1000:.0f} ms")


def clock(found: Way) -> Finding:
    """Our clock against the service's `Date`."""
    if found.skew_s is None:
        return good("clock", "the service does not say what time it is")
    off_s = abs(found.skew_s)
    side = "ahead of" if found.skew_s > 0 else "behind"
    said = f"this machine's clock is {off_s:.0f} s {side} the service's"
    mend = "set the clock: `timedatectl set-ntp true`, or chrony"
    if off_s > SKEW_LIMIT_S:
        return bad("clock", f"{said}: signed URLs are misjudged", mend)
    if off_s > SKEW_S:
        return poor("clock", said, mend)
    return good("clock", f"within {SKEW_S:.0f} s of the service's")


def standing_checks(found: Standing, wanted: str | None) -> Iterator[Finding]:
    """The key's organization and role, the dialect, the budget. `wanted` is what SOURCE said."""
    if found.error is not None:
        what, _, mend = str(found.error).partition(": ")
        if isinstance(found.error, KeyRefused):
            yield bad("role", what, mend or "take a key that is good: api_key_file")
        else:
            yield bad("role", what, mend or "see the lines above")
        return
    if wanted is not None and found.names and wanted not in found.names:
        known = " or ".join(dict.fromkeys(filter(None, found.names)))
        yield bad("role", f"the key's organization is {known}, not {wanted}", "take another key or SOURCE")
    else:
        whose = found.organization or "an organization that the service does not name"
        yield good("role", f"{whose}; the key's role: {found.role or 'the service does not say'}")
    yield good("dialect", found.dialect)
    if found.storage is not None:
        yield storage(found.storage)
    yield budget(found.budget)


def storage(found: Storage) -> Finding:
    """The host that the bytes come from, which is another than the API's."""
    if found.error:
        where = found.host or "the host of the signed URLs"
        mend = "let proxy and firewall pass it as well; ca_file and proxy hold for it too"
        return bad("storage", f"{where}: {found.error}", mend)
    if not found.host:
        return good("storage", "not tried: there is no image to ask for")
    return good("storage", f"{found.host} gives bytes, the first after {found.took_s * 1000:.0f} ms")


def budget(found: Budget | None) -> Finding:
    """The hour's requests."""
    if found is None:
        return good("budget", "the service does not say")
    whole = time.strftime("%H:%M:%S", time.localtime(found.reset_s)) if found.reset_s else "the hour's end"
    said = f"{found.remaining} of {found.limit} requests left until {whole}"
    if found.remaining <= 0:
        return bad("budget", said, "wait; a longer ttl= and bulk=auto take fewer requests")
    if found.limit and found.remaining < LOW_SHARE * found.limit:
        return poor("budget", said, "see who else uses this key; a longer ttl= takes fewer requests")
    return good("budget", said)


def _asked(profile: Profile, settings: Settings, so_far: Way) -> Way:
    address = Address.parse(profile.base_url)
    wire = Wire(address.origin, ca_file=settings.ca_file, proxy=settings.proxy)
    failed, begun_s, headers = "", time.time(), dict[str, str]()
    try:
        reply = wire.send(Call("GET", address.url("/", ()), {"Accept": "application/json"}), LIMIT_S)
        headers = reply.headers
        reply.close()
    except Broken as error:
        failed = str(error)
    finally:
        wire.close()
    took_s = time.time() - begun_s
    said_s = http_date_s(headers.get("date"))
    # `Date` is cut to seconds: it is half a second later on average
    skew_s = None if said_s is None else begun_s + took_s / 2 - said_s - 0.5
    return Way(
        so_far.origin, so_far.proxy, "", so_far.addresses, "", so_far.tls, "", so_far.certificate_ends_s,
        failed, skew_s, took_s,
    )  # fmt: skip


def _byte(client: Client, settings: Settings) -> Storage:
    """One byte of an image of the smallest dataset; dialect A signs a whole dataset at once."""
    try:
        datasets = [each for each in client.datasets.list() if each.image_count]
        if not datasets:
            return Storage()
        links = client.datasets.links(min(datasets, key=lambda each: each.image_count), limit=1)
        url = next((link.url for link in links.items if link.url), "")
    except PictofsError as error:
        return Storage(error=f"no URL is to be had: {error}")
    return _transferred(url, settings) if url else Storage()


def _transferred(url: str, settings: Settings) -> Storage:
    host = urlsplit(url).netloc.rpartition("@")[2]
    ended: queue.SimpleQueue[Got | PictofsError] = queue.SimpleQueue()
    transfers = Transfers(
        connections=1, timeout_s=LIMIT_S, ca_file=settings.ca_file, proxy=settings.proxy
    )
    transfers.start()
    begun_s = time.monotonic()
    try:
        transfers.submit(Get(url, 0, 0), ended.put)
        outcome = ended.get(timeout=3 * LIMIT_S)
    except queue.Empty:
        return Storage(host, f"nothing within {3 * LIMIT_S:.0f} s")
    finally:
        transfers.stop()
    if isinstance(outcome, PictofsError):
        return Storage(host, str(outcome))
    return Storage(host, "", time.monotonic() - begun_s)


def _handshake(host: str, port: int, trusted: str) -> tuple[str, float | None]:
    """(protocol and cipher, when the certificate ends)."""
    context = ssl.create_default_context()
    context.load_verify_locations(**{"capath" if os.path.isdir(trusted) else "cafile": trusted})
    with (
        socket.create_connection((host, port), LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert() or {}
        ends = certificate.get("notAfter")
        ends_s = float(ssl.cert_time_to_seconds(ends)) if isinstance(ends, str) else None
        until = datetime.datetime.fromtimestamp(ends_s, datetime.timezone.utc).date() if ends_s else "?"
        return f"{secure.version()}, trusted by {trusted}, certificate good until {until}", ends_s


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "strerror", "") or str(error)


def _place(profile: Profile, environ: Mapping[str, str]) -> str:
    source = profile.key
    if source.file is not None:
        return f"api_key_file {source.file}"
    if source.command is not None:
        return "api_key_command"
    return source.variable if environ.get(source.variable) else "the systemd credential"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if url else ""
