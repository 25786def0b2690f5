"""The exceptions of the library that have no built-in equivalent."""

from __future__ import annotations

from werkzeug.exceptions import BadRequest, HTTPException


class InvalidName(BadRequest, ValueError):
    """A file or folder name that cannot be used. It has no safe characters, is too long, or leads out of the set.

    Such names come from clients. If the exception is not caught, the app answers with 400 (Bad Request).
    """

    def __str__(self) -> str:
        return self.description or ""


class InsufficientStorage(HTTPException):
    """There is no space left to receive an upload.

    If it is not caught, the app answers with 507 (Insufficient Storage; RFC 4918, section 11.5).
    """

    code: int | None = 507
    description: str | None = "There is no space left to receive this upload."


class UploadNotAllowed(HTTPException):
    """An upload set refused a file.

    Catch it in a view and show ``str(error)`` to the user. If it is not caught, the app answers
    with 415 (Unsupported Media Type).

    :param description: the whole message; by default it is built from ``filename`` and ``rule``.
    :param set_name: the name of the upload set that refused the file.
    :param filename: the name that was refused. It may differ from the name that the client sent.
    :param rule: the rule that refused the file, in words.
    """

    code: int | None = 415
    description: str | None = "This upload is not allowed."

    def __init__(
        self,
        description: str | None = None,
        *,
        set_name: str | None = None,
        filename: str | None = None,
        rule: str | None = None,
    ) -> None:
        if description is None and rule is not None:
            description = f"{filename or 'The file'} was not saved: {rule}."
        super().__init__(description)
        self.args: tuple[object, ...] = (self.description,)
        self.set_name = set_name
        self.filename = filename
        self.rule = rule

    def __str__(self) -> str:
        return self.description or ""


class FileTooLarge(UploadNotAllowed):
    """A file is larger than ``UPLOADED_X_MAX_SIZE``. If it is not caught, the app answers with 413."""

    code: int | None = 413


class NoFileChosen(UploadNotAllowed, InvalidName):
    """A form was sent without a file: the upload has no name. If it is not caught, the app answers with 400."""

    # The base classes declare different types for these two.
    code: int = 400  # pyright: ignore[reportIncompatibleVariableOverride]
    description: str = "No file was chosen."  # pyright: ignore[reportIncompatibleVariableOverride]
