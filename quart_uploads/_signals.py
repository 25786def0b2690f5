"""Signals. They are sent as the framework sends its own. The sender is the app, or ``None`` outside of an app.

In Quart, receivers may be coroutine functions. If a receiver raises an error, the caller of the set's method gets it.
What the signal announced is not undone.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_signals = Namespace()

#: A file was saved. Receivers get ``upload_set``, ``name`` (with its folder) and ``storage``.
upload_saved: NamedSignal = _signals.signal("upload-saved")

#: A file was refused. Receivers get ``upload_set``, ``storage`` and ``error``, an :class:`UploadNotAllowed`.
upload_rejected: NamedSignal = _signals.signal("upload-rejected")

#: A file was deleted. Receivers get ``upload_set`` and ``name``.
upload_deleted: NamedSignal = _signals.signal("upload-deleted")
