"""Flask's requests, with uploads that are staged while they arrive."""

from __future__ import annotations

from flask import Flask, Request, current_app

from ..config import staging_storage
from ..steps import drive
from .reader import READ, ReceivedFile, reading_of


class UploadRequest(Request):
    """A request whose files are staged while they arrive."""

    def _load_form_data(self) -> None:
        if self.mimetype != "multipart/form-data" or "form" in self.__dict__:
            super()._load_form_data()
            return
        # Werkzeug limits the stream to MAX_CONTENT_LENGTH, and reads it again if get_data() has read it before.
        stream = self._get_stream_for_parsing()
        reading = reading_of(self, lambda may_pause: stream.read(READ))
        fields, files = drive(reading.collect(staging_storage(current_app), ReceivedFile))
        self.__dict__["stream"] = stream
        self.__dict__["form"] = self.parameter_storage_class(fields)
        self.__dict__["files"] = self.parameter_storage_class(files)


def install_streaming(app: Flask) -> None:
    """Extend an app's own request class, once."""
    if not issubclass(app.request_class, UploadRequest):
        request_class: type[Request] = type("UploadRequest", (UploadRequest, app.request_class), {})
        app.request_class = request_class
