"""What people may read of a text that may have passwords and keys in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Up to the last @ of a word, as passwords are pasted unquoted, with "/" and "?" in them. Whole words, from their
# scheme to their end: what follows "?" is a query, and signatures are in queries.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s\"'<>]*@)?(?P<place>[^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?"
)

# What ends with "file" is the path of one, which helps to find it.
_SECRET = re.compile(r"(key|secret|token|password|sas|header)(?!.*file$)", re.IGNORECASE)

# Anything shorter would turn up in words that have nothing to do with it.
_SHORTEST = 4


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the user names, passwords and queries of the URLs in it.

    :param secrets: other strings that it must not contain.
    """
    text = _URL.sub(r"\g<scheme>\g<place>", text)
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "***")
    return text


def secrets_of(options: Mapping[str, Any]) -> set[str]:
    """Return the values in options, nested as they may be, that are secret by their names."""
    return {value for name, value in _leaves("", options) if _SECRET.search(name) and len(value) >= _SHORTEST}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, nested in value.items():
            yield from _leaves(f"{name}.{key}", nested)
    elif isinstance(value, bytes):
        yield name, value.decode(errors="replace")
    elif isinstance(value, str):
        yield name, value
