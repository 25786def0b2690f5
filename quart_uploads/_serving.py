"""How a stored file is sent over HTTP: conditional requests, ranges, safe headers. Shared by both blueprints."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.http import http_date, parse_date, parse_etags, parse_if_range_header, parse_range_header, quote_etag

from ._config import configurations_of
from ._media_types import is_active, sent_type
from ._names import check_stored
from .storage import CHUNK, FileInfo, StoredFile

#: The most bytes of an answer that is read in the same step in which the file is opened.
SMALL = CHUNK // 4

#: Isolates an uploaded page from the site that serves it: no scripts, no cookies, no origin, no requests. Its own
#: styles and inlined pictures still work, and ``<img>`` can still show it.
SANDBOX = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"

# A suffix of no bytes. No file can satisfy it (RFC 9110, section 14.1.2), but Werkzeug treats it as a missing range.
_EMPTY_SUFFIX = re.compile(r"[ \t]*bytes[ \t]*=[ \t]*-0+[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class Delivery:
    """An answer: its status, its headers, and the bytes of the file that it has: ``start`` to ``stop``, exclusive."""

    status: int
    headers: Headers = field(default_factory=Headers)
    start: int = 0
    stop: int = 0


def find_delivery(
    app: Any, setname: str, filename: str, method: str, request_headers: Headers
) -> tuple[Delivery, bytes | StoredFile]:
    """Find a file that an app serves and plan how to send it.

    :returns: the plan, and the bytes to send. For a large answer it is the open file, which the caller has to close.
    :raises FileNotFoundError: the app serves no such file.
    """
    config = configurations_of(app).get(setname)
    if config is None or not config.is_served(setname):
        raise FileNotFoundError(errno.ENOENT, "The app serves no such upload set", setname)
    try:
        stored = check_stored(filename)
    except ValueError as error:
        raise FileNotFoundError(errno.ENOENT, "No file can have this name", filename) from error
    with ExitStack() as stack:
        try:
            file = stack.enter_context(config.storage(setname).open(stored))
        except PermissionError as error:
            app.logger.warning("A file of the upload set %r cannot be served: %s", setname, error)
            raise FileNotFoundError(errno.ENOENT, "The file cannot be read", filename) from error
        plan = plan_delivery(file.info, method, request_headers, app.get_send_file_max_age(stored))
        size = plan.stop - plan.start
        if method == "HEAD" or not size:
            return plan, b""
        file.seek(plan.start)
        if size <= SMALL:
            return plan, file.read(size)
        stack.pop_all()
        return plan, file


def is_slow(app: Any, setname: str) -> bool:
    """Return True if :func:`find_delivery` waits for a network."""
    config = configurations_of(app).get(setname)
    return config is not None and config.storage(setname).is_slow


def chunk_sizes(plan: Delivery) -> Iterator[int]:
    """Yield how many bytes to read for each piece of an answer."""
    left = plan.stop - plan.start
    while left > 0:
        yield min(left, CHUNK)
        left -= CHUNK


def plan_delivery(info: FileInfo, method: str, request_headers: Headers, max_age: int | None) -> Delivery:
    """Decide how to answer a request for a file (RFC 9110, sections 13 and 14).

    One range is answered with 206. Several are answered with the whole file, as section 14.2 allows.

    :param method: ``GET`` or ``HEAD``.
    :param max_age: seconds for which a client may use the file without asking again; ``None`` if it has to ask.
    """
    headers = _headers(info, max_age)
    headers["Content-Type"] = sent_type(info.content_type)
    if _is_not_modified(info, request_headers):
        return Delivery(304, headers)
    headers["Accept-Ranges"] = "bytes"
    requested = request_headers.get("Range")
    if method != "GET" or requested is None or not _if_range_holds(info, request_headers.get("If-Range")):
        return _whole(info, headers)
    if info.size and _EMPTY_SUFFIX.fullmatch(requested):
        return _unsatisfiable(info, headers)
    ranges = parse_range_header(requested)
    if ranges is None or ranges.units != "bytes" or len(ranges.ranges) != 1 or not info.size:
        return _whole(info, headers)
    first, end = ranges.ranges[0]
    start = max(first + info.size, 0) if first < 0 else first
    stop = info.size if end is None else min(end, info.size)
    if start >= stop:
        return _unsatisfiable(info, headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.size}"
    headers["Content-Length"] = str(stop - start)
    return Delivery(206, headers, start, stop)


def _whole(info: FileInfo, headers: Headers) -> Delivery:
    headers["Content-Length"] = str(info.size)
    return Delivery(200, headers, 0, info.size)


def _unsatisfiable(info: FileInfo, headers: Headers) -> Delivery:
    headers["Content-Range"] = f"bytes */{info.size}"
    headers["Content-Length"] = "0"
    return Delivery(416, headers)


def _headers(info: FileInfo, max_age: int | None) -> Headers:
    headers = Headers()
    headers["ETag"] = quote_etag(info.etag)
    headers["Last-Modified"] = http_date(info.modified)
    headers["Cache-Control"] = "no-cache" if max_age is None else f"public, max-age={max_age}"
    headers["X-Content-Type-Options"] = "nosniff"
    if is_active(info.content_type):
        headers["Content-Security-Policy"] = SANDBOX
    return headers


def _is_not_modified(info: FileInfo, request_headers: Headers) -> bool:
    if_none_match = request_headers.get("If-None-Match")
    if if_none_match is not None:
        return parse_etags(if_none_match).contains_weak(info.etag)
    since = parse_date(request_headers.get("If-Modified-Since"))
    return since is not None and _whole_second(info.modified) <= since


def _whole_second(moment: datetime) -> datetime:
    """Return a moment in whole seconds, as an HTTP date has it."""
    return moment.replace(microsecond=0)


def _if_range_holds(info: FileInfo, value: str | None) -> bool:
    if value is None:
        return True
    condition: Any = parse_if_range_header(value)
    if condition.date is not None:
        return bool(condition.date == _whole_second(info.modified))
    # Only a strong ETag may join two answers into one file (RFC 9110, section 13.1.5).
    return not value.startswith("W/") and condition.etag == info.etag
