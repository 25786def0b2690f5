"""Signals, sent as the framework sends its own: the app is the sender, or ``None`` where there is none.

In Quart, receivers may be coroutine functions. An error of a receiver reaches the caller of the set's
method, and does not undo what was announced.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_signals = Namespace()

#: A file was saved. Receives ``upload_set``, ``name`` (with its folder) and ``storage``.
upload_saved: NamedSignal = _signals.signal("upload-saved")

#: A file was refused. Receives ``upload_set``, ``storage`` and ``error``, an :class:`UploadNotAllowed`.
upload_rejected: NamedSignal = _signals.signal("upload-rejected")

#: A file was deleted. Receives ``upload_set`` and ``name``.
upload_deleted: NamedSignal = _signals.signal("upload-deleted")
