"""What an app has of its own in the places that streaming would take, which is left alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


def own_hook(request_class: type, base: type, names: Iterable[str]) -> str | None:
    """Say which hook of a framework's request class an app has overridden.

    :param request_class: the app's.
    :param base: the framework's.
    :param names: those of the hooks.
    """
    for name in names:
        if getattr(request_class, name) is not getattr(base, name):
            return f"{request_class.__name__} has a {name} of its own"
    return None


def warn_of_foreign(what: str) -> None:
    """Warn the caller of ``configure_uploads`` that uploads are not streamed."""
    warnings.warn(
        f"{what}, so that uploads of this app are not streamed. "
        "Set UPLOADS_STREAMING = False to say that this is meant.",
        stacklevel=5,
    )
