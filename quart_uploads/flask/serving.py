"""The blueprint by which a Flask app serves the upload sets that have no URL of their own."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, abort, current_app, request

from ..config import BLUEPRINT, URL_PREFIX, URL_RULE
from ..delivery import Delivery, chunk_sizes, find_delivery
from ..storage import StoredFile

blueprint: Blueprint = Blueprint(BLUEPRINT, __name__, url_prefix=URL_PREFIX)


@blueprint.route(URL_RULE)
def uploaded_file(setname: str, filename: str) -> Response:
    """Send a stored file."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        plan, found = find_delivery(app, setname, filename, request.method, request.headers)
    except FileNotFoundError:
        abort(404)
    body = found if isinstance(found, bytes) else _StoredFileBody(found, plan)
    response: Response = app.response_class(body, plan.status, direct_passthrough=True)
    response.headers.clear()
    response.headers.extend(plan.headers)
    return response


class _StoredFileBody:
    """The part of a stored file that a response has, read in large pieces while it is sent."""

    def __init__(self, file: StoredFile, plan: Delivery) -> None:
        self._file = file
        self._plan = plan

    def __iter__(self) -> Iterator[bytes]:
        return map(self._file.read, chunk_sizes(self._plan))

    def close(self) -> None:
        """Called by the WSGI server (PEP 3333) when the response is over, however it ended."""
        self._file.close()
