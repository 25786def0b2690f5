"""Look for bytes on which the decoder of forms breaks its promises: ``nox -s fuzz``.

Finding one is an error that prints it. Put it into ``cases/forms.json``, with what is right.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["quart_uploads._receiving.multipart", "quart_uploads._receiving.part_head"]):
    from decoding import in_pieces, outcome

BOUNDARIES = ["b", "--", "a:b", "=" * 70]


def check(data: bytes) -> None:
    """Check that the outcome does not depend on the pieces, and that all errors are for the client."""
    if len(data) < 3:
        return
    boundary, size, body = BOUNDARIES[data[0] % len(BOUNDARIES)], data[1] + 1, data[2:]
    content_type = f'multipart/form-data; boundary="{boundary}"'
    whole = outcome([body], content_type)
    for pieces in (in_pieces(body, size), in_pieces(body, 1), [body[: len(body) // 2], body[len(body) // 2 :]]):
        assert outcome([piece for piece in pieces if piece], content_type) == whole
    if isinstance(whole, tuple):
        assert whole[0] in (400, 413)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
