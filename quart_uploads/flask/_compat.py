"""Everything that the library uses of Flask and Werkzeug although their documentation does not promise it.

Each seam has a test case in ``tests/house/test_compat.py``, which names what a new version has changed.
"""

from __future__ import annotations

from flask import Request

#: The attributes that an app may have overridden to read forms in its own way.
FORM_HOOKS = ("form_data_parser_class", "make_form_data_parser", "_get_file_stream")


def take_form(request: Request) -> bool:
    """Leave ``request.form`` and ``request.files`` empty from now on. Return False if the form was read already.

    Reading the properties themselves would read the form. Their values are cached in the request's ``__dict__``.
    """
    cached = request.__dict__
    if "form" in cached:
        return False
    cached["form"], cached["files"] = request.parameter_storage_class(), request.parameter_storage_class()
    return True
