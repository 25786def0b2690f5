"""The blueprint with which a Flask app serves the upload sets that have no URL of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, current_app, g, request, request_finished
from flask.blueprints import BlueprintSetupState

from .._config import BLUEPRINT, URL_PREFIX, URL_RULE
from .._serving import Delivery, chunk_sizes, find_delivery
from ..storage import StoredFile

blueprint: Blueprint = Blueprint(BLUEPRINT, __name__, url_prefix=URL_PREFIX)

#: The attribute of ``g`` that has the body of the answer while the request is handled.
_SERVED = "_quart_uploads_served"


@blueprint.route(URL_RULE)
def uploaded_file(setname: str, filename: str) -> Response:
    """Send a stored file."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        plan, found = find_delivery(app, setname, filename, request.method, request.headers)
    except FileNotFoundError:
        abort(404)
    body: bytes | _StoredFileBody = found if isinstance(found, bytes) else _StoredFileBody(found, plan)
    if isinstance(body, _StoredFileBody):
        setattr(g, _SERVED, body)
    response: Response = app.response_class(body, plan.status, direct_passthrough=True)
    response.headers.clear()
    response.headers.extend(plan.headers)
    return response


@blueprint.record
def _watch_answers(state: BlueprintSetupState) -> None:
    request_finished.connect(_note_answer, state.app)


def _note_answer(app: Any, response: Response, **extra: object) -> None:
    body: _StoredFileBody | None = g.get(_SERVED)
    if body is not None:
        # A hook may have wrapped the body, so the answer itself closes it at its end.
        body.is_answer = True
        response.call_on_close(body.close)


@blueprint.teardown_request
def _close_unless_sent(error: BaseException | None) -> None:
    """Close a file that no server will close, because a hook of the app failed or replaced the answer."""
    body: _StoredFileBody | None = g.pop(_SERVED, None)
    if body is not None and not body.is_answer:
        body.close()


class _StoredFileBody:
    """The part of a stored file that a response sends. It is read in large pieces while it is sent."""

    def __init__(self, file: StoredFile, plan: Delivery) -> None:
        self.is_answer: bool = False
        self._file = file
        self._plan = plan

    def __iter__(self) -> Iterator[bytes]:
        return map(self._file.read, chunk_sizes(self._plan))

    def close(self) -> None:
        """Close the file. The WSGI server calls this when the response has ended or failed (PEP 3333)."""
        self._file.close()
