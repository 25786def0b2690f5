"""Finds what an app has overridden where streaming would be installed. It is left alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


def own_hook(request_class: type, base: type, names: Iterable[str]) -> str | None:
    """Return a sentence that names the first overridden hook of a request class; ``None`` if there is none.

    :param request_class: the app's request class.
    :param base: the framework's request class.
    :param names: the names of the hooks.
    """
    for name in names:
        if getattr(request_class, name) is not getattr(base, name):
            return f"{request_class.__name__} has a {name} of its own"
    return None


def warn_of_foreign(what: str) -> None:
    """Warn the caller of ``configure_uploads`` that uploads are not streamed.

    :param what: the reason, as the beginning of a sentence.
    """
    warnings.warn(
        f"{what}, so the uploads of this app are not streamed. "
        "If you want that, set UPLOADS_STREAMING = False to turn this warning off.",
        stacklevel=5,
    )
