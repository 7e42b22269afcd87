"""Decides how a connection to Postgres is encrypted, from its URL. Off this machine the default is verified TLS."""

from __future__ import annotations

import os
import ssl
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

# `prefer` and `allow` are refused: they fall back to plain text when an attacker in between says that there is no TLS.
MODES = ("verify-full", "verify-ca", "require", "disable")


def choose_tls(database_url: str, authority: str | None = None) -> ssl.SSLContext | bool:
    """Return the TLS settings for the driver: a context, or False for plain text.

    Args:
        database_url: may name a weaker mode as `sslmode`, and a root certificate as `sslrootcert`.
        authority: the file of the root certificate; without it, the authorities that this machine trusts count.

    Raises:
        ValueError: the mode is unknown.
        OSError: the file cannot be read (ssl.SSLError: it holds no certificate).
    """
    mode = find_mode(database_url)
    if mode == "disable":
        return False
    query = _query(database_url)
    file = authority or query.get("sslrootcert")
    file = None if file == "system" else file
    context = ssl.create_default_context(cafile=file)
    # Python 3.13 refuses a root without the key usage extension, which many private ones lack; libpq accepts it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["postgresql"])
    if certificate := query.get("sslcert"):
        context.load_cert_chain(certificate, query.get("sslkey"), lambda: query.get("sslpassword", ""))
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not file:  # as in libpq: with a root certificate, it is verified
        context.verify_mode = ssl.CERT_NONE
    return context


def find_mode(database_url: str) -> str:
    """Return the mode that the URL names; else `disable` for this machine and `verify-full` for all others."""
    mode = _query(database_url).get("sslmode") or ("disable" if is_local(database_url) else "verify-full")
    if mode not in MODES:
        raise ValueError(mode)
    return mode


def is_local(database_url: str) -> bool:
    """Return whether the URL leads to loopback addresses or Unix sockets only."""
    hosts = _hosts(database_url)
    return all(host.startswith("/") or is_loopback(host) for host in hosts) and bool(hosts)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to this address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _query(database_url: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(database_url).query).items()}


def _hosts(database_url: str) -> list[str]:
    # The same steps as in asyncpg. A host that is read differently here is not local, so it needs TLS.
    netloc, query = urlsplit(database_url).netloc, _query(database_url)
    named = netloc.partition("@")[2] if "@" in netloc else netloc
    if not (named or query.get("host")) and (query.get("service") or os.environ.get("PGSERVICE")):
        return []  # the host stands in a service file
    given = unquote(named) or query.get("host") or os.environ.get("PGHOST") or "localhost"
    return [_without_port(host) for host in given.split(",")]


def _without_port(host: str) -> str:
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
