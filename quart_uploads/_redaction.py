"""Remove passwords and keys from texts before people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Everything up to the last "@" of a word is removed, because people paste passwords unquoted, with "/" and "?" in them.
# Queries are removed as well, because they may contain signatures.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s\"'<>]*@)?(?P<place>[^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?"
)

# An option whose name ends with "file" has a path as its value. It is no secret and helps to find an error.
_SECRET = re.compile(r"(key|secret|token|password|sas|header)(?!.*file$)", re.IGNORECASE)

# A shorter value would also match parts of unrelated words.
_SHORTEST = 4


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the user names, passwords and queries of the URLs in it.

    :param secrets: other strings to replace by ``***``.
    """
    text = _URL.sub(r"\g<scheme>\g<place>", text)
    for secret in sorted(secrets, key=len, reverse=True):  # longest first: one may be a part of another
        text = text.replace(secret, "***")
    return text


def secrets_of(options: Mapping[str, Any]) -> set[str]:
    """Return the values of all options that are secret, judging by their names. Options may be nested."""
    return {value for name, value in _leaves("", options) if _SECRET.search(name) and len(value) >= _SHORTEST}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, nested in value.items():
            yield from _leaves(f"{name}.{key}", nested)
    elif isinstance(value, bytes):
        yield name, value.decode(errors="replace")
    elif isinstance(value, str):
        yield name, value
