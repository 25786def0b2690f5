"""All that is used of Flask and Werkzeug without being documented as something to build on.

Each seam has a case in ``tests/test_compat.py``, which says what a new version has changed.
"""

from __future__ import annotations

from flask import Request

#: What an app may have overridden to read forms its own way.
FORM_HOOKS = ("form_data_parser_class", "make_form_data_parser", "_get_file_stream")


def take_form(request: Request) -> bool:
    """Leave ``request.form`` and ``request.files`` empty from now on. Return False if the form was read already.

    To ask the properties themselves would read the form. They are cached in the request's own dictionary.
    """
    cached = request.__dict__
    if "form" in cached:
        return False
    cached["form"], cached["files"] = request.parameter_storage_class(), request.parameter_storage_class()
    return True
