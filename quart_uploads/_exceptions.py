"""The errors of the library that have no builtin equivalent."""

from __future__ import annotations

from werkzeug.exceptions import BadRequest, HTTPException


class InvalidName(BadRequest, ValueError):
    """A file or folder name that cannot be used: nothing is left of it, or it leads out of the set.

    Such names come from clients, so that one that is not caught answers the request with 400 (Bad Request).
    """

    def __str__(self) -> str:
        return self.description or ""


class InsufficientStorage(HTTPException):
    """There is no space to receive an upload. Answers 507 (RFC 4918, section 11.5)."""

    code: int | None = 507
    description: str | None = "There is no space left to receive this upload."


class UploadNotAllowed(HTTPException):
    """An upload set refused a file.

    Catch it in a view to tell the user; ``str(error)`` is written for that. Where it is not
    caught it answers the request with 415 (Unsupported Media Type).

    :param description: the whole message; by default it is made of the file's name and the rule.
    :param set_name: the name of the upload set that refused.
    :param filename: the name that was refused. It may be another one than the client sent, which is in the message.
    :param rule: which rule refused it, in words.
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
    """A file is larger than its set's ``UPLOADED_X_MAX_SIZE``. Answers 413 if it is not caught."""

    code: int | None = 413


class NoFileChosen(UploadNotAllowed, InvalidName):
    """A form was sent without choosing a file: the upload has no name. Answers 400 if it is not caught."""

    # One base may have None here, the other may not.
    code: int = 400  # pyright: ignore[reportIncompatibleVariableOverride]
    description: str = "No file was chosen."  # pyright: ignore[reportIncompatibleVariableOverride]
