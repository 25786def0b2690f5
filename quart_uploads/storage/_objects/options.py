"""Check the options of an object store's client before they are passed to obstore.

obstore ignores some wrong options, and reports others without their name. Other wrong options make it panic, at the
start or at every request. A panic prints a Rust traceback to stderr, and ``except Exception`` does not catch it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

# With these values, a request to a wrong endpoint fails in seconds. The defaults of obstore retry for 3 minutes.
_CLIENT_OPTIONS = {"connect_timeout": "5s", "timeout": "15s"}
_RETRY_CONFIG = {"max_retries": 3, "retry_timeout": 10, "backoff": {"init_backoff": 0.1, "max_backoff": 2, "base": 2}}

# The options of obstore's HTTP client.
_CLIENT = frozenset(
    "allow_http allow_invalid_certificates connect_timeout default_content_type default_headers "
    "disable_system_certificates http1_only http2_keep_alive_interval http2_keep_alive_timeout "
    "http2_keep_alive_while_idle http2_max_frame_size http2_only pool_idle_timeout pool_max_idle_per_host "
    "proxy_ca_certificate proxy_excludes proxy_url randomize_addresses read_timeout root_certificate timeout "
    "user_agent".split()
)
_RETRY = frozenset({"max_retries", "retry_timeout", "backoff"})
_BACKOFF = frozenset({"init_backoff", "max_backoff", "base"})
_DURATIONS = frozenset({"retry_timeout", "init_backoff", "max_backoff"})

# Maximum number of seconds. Larger values overflow timedelta or the duration type of Rust.
_MOST = 1_000_000_000

_ENDPOINTS = ("endpoint", "endpoint_url", "endpoint_url_s3", "endpoint_url_sts")
# If client options are passed, obstore ignores AWS_ALLOW_HTTP and similar variables. So the endpoints in these
# variables are checked for "http://", too.
_ENVIRONMENT = {
    "s3": ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}


def checked(options: Mapping[str, Any], scheme: str) -> dict[str, Any]:
    """Return the options for obstore's store.

    :param options: the options from the config.
    :param scheme: the scheme of the store's URL: ``s3``, ``gs`` or ``az``.
    :raises ValueError: an option is wrong. The message has its name, but not its value, which may be a secret.
    """
    given = dict(options)
    client = _mapping(given.pop("client_options", None), "client_options")
    retry = _mapping(given.pop("retry_config", None), "retry_config")
    given = {**_mapping(given.pop("config", None), "config"), **given}
    for name, value in given.items():
        _check_option(name, value)
    for name, value in client.items():
        _check_client_option(name, value)
    client = {**_CLIENT_OPTIONS, **client}
    environment = {key: os.environ[key] for key in _ENVIRONMENT.get(scheme, ()) if os.environ.get(key)}
    endpoints = {name: value for name, value in {**environment, **given}.items() if _is_endpoint(name)}
    for name, value in endpoints.items():
        _check_endpoint(name, value)
    if any(value.startswith("http://") for value in endpoints.values()):
        client.setdefault("allow_http", True)  # the endpoint was chosen on purpose
    return {**given, "client_options": client, "retry_config": _retry_config({**_RETRY_CONFIG, **retry})}


def _check_option(name: Any, value: Any) -> None:
    _check_name(name)
    plain = _plain(name)
    if plain in _CLIENT:
        raise ValueError(
            f"{name!r} is an option of the HTTP client, so put it into 'client_options': "
            f"{{'client_options': {{{plain!r}: ...}}}}"
        )
    if plain in _RETRY or plain in _BACKOFF:
        place = "'retry_config'" if plain in _RETRY else "'backoff' in 'retry_config'"
        raise ValueError(f"{name!r} is an option for retries, so put it into {place}")
    if plain == "url":
        raise ValueError("'url' is no option: the destination is the URL, and 'endpoint' the host of the store")
    if plain == "credential_provider":
        if not callable(value):
            raise ValueError(f"'credential_provider' must be callable, and is of type {type(value).__name__}")
    elif value is None:
        raise ValueError(f"{name!r} is None: leave it out, and what is in the environment counts")
    elif not isinstance(value, str | bool):
        raise ValueError(f"{name!r} must be a string, and is of type {type(value).__name__}")
    elif isinstance(value, str) and "service_account" not in plain and not value.isprintable():
        # The value is sent in a header. A key that was read from a file often ends with a line break.
        raise ValueError(f"{name!r} has a line break or another control character in it")


def _check_client_option(name: Any, value: Any) -> None:
    _check_name(name)
    if name in _RETRY or name in _BACKOFF:
        raise ValueError(f"{name!r} is an option for retries: put it into 'retry_config' and not into 'client_options'")
    if name == "default_headers":
        _mapping(value, name)
    elif not isinstance(value, str | bytes | bool | timedelta):
        hint = ", such as '5s'" if "timeout" in name or "interval" in name else ""
        raise ValueError(f"{name!r} in 'client_options' must be a string{hint}, and is of type {type(value).__name__}")


def _retry_config(config: Mapping[str, Any], names: frozenset[str] = _RETRY, place: str = "retry_config") -> Any:
    """Return the retry options for obstore. Durations may be numbers of seconds, because JSON has no timedelta."""
    result: dict[str, Any] = {}
    for name, value in config.items():
        if name not in names:
            raise ValueError(f"{name!r} is no option of {place!r}, which has {', '.join(sorted(names))}")
        if name == "backoff":
            result[name] = _retry_config(_mapping(value, name), _BACKOFF, name)
        elif isinstance(value, timedelta) and name in _DURATIONS and value >= timedelta():
            result[name] = value
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
            raise ValueError(f"{name!r} in {place!r} must be a number from 0 to {_MOST:,}")
        elif name == "max_retries" and not isinstance(value, int):
            raise ValueError(f"{name!r} in {place!r} must be a whole number")
        else:
            result[name] = timedelta(seconds=value) if name in _DURATIONS else value
    return result


def _check_endpoint(name: str, value: Any) -> None:
    problem = f"{name!r} must be a URL as https://host:port, without spaces and without a query"
    try:
        parts = urlsplit(value)
        has_port = parts.port is None or parts.port > 0  # raises ValueError if the port is not a number
    except ValueError:
        raise ValueError(problem) from None  # the original message may contain a secret from the URL
    characters = value.isascii() and value.isprintable() and not set(value) & set(' "<>\\^`{|}')
    if not (parts.scheme in ("http", "https") and parts.hostname and has_port and characters):
        raise ValueError(problem)
    if parts.query or parts.fragment:
        raise ValueError(problem)


def _is_endpoint(name: str) -> bool:
    plain = _plain(name)
    return plain.endswith(_ENDPOINTS) and not plain.startswith("use_")


def _plain(name: str) -> str:
    """Return the name of an option in lower case, without the prefix of the environment variables."""
    plain = name.lower()
    for prefix in ("aws_", "azure_", "google_"):
        plain = plain.removeprefix(prefix)
    return plain


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"the names of options must be strings, and {name!r} is not")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name!r} must be a dict of options, and is of type {type(value).__name__}")
    return dict(value)
