"""The signals, for both flavours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Flavour

from quart_uploads import UploadNotAllowed, upload_deleted, upload_rejected, upload_saved


@pytest.fixture
def heard(flavour: Flavour) -> Iterator[list[tuple[str, Any, dict[str, Any]]]]:
    """The signals that were sent. The receivers of the async set are coroutines."""
    heard: list[tuple[str, Any, dict[str, Any]]] = []
    receivers = []  # signals hold their receivers weakly
    with ExitStack() as stack:
        for signal in (upload_saved, upload_rejected, upload_deleted):

            def receive(sender: Any, _signal: str = signal.name, **values: Any) -> None:
                heard.append((_signal, sender, values))

            async def receive_async(sender: Any, _signal: str = signal.name, **values: Any) -> None:
                heard.append((_signal, sender, values))

            receivers.append(receive_async if flavour.is_async else receive)
            stack.enter_context(signal.connected_to(receivers[-1]))
        yield heard


async def test_what_happens_to_an_upload_is_announced(flavour: Flavour, photos: Any, heard: list[Any]) -> None:
    good, bad = flavour.upload(), flavour.upload(filename="a.exe")
    await flavour.run(photos.save, good, "f")
    with pytest.raises(UploadNotAllowed) as caught:
        await flavour.run(photos.save, bad)
    await flavour.run(photos.delete, "f/photo.jpg")
    assert heard == [
        ("upload-saved", None, {"upload_set": photos, "name": "f/photo.jpg", "storage": good}),
        ("upload-rejected", None, {"upload_set": photos, "storage": bad, "error": caught.value}),
        ("upload-deleted", None, {"upload_set": photos, "name": "f/photo.jpg"}),
    ]


async def test_an_upload_without_a_file_is_announced_as_refused(
    flavour: Flavour, photos: Any, heard: list[Any]
) -> None:
    nameless = flavour.upload(b"", "")
    with pytest.raises(UploadNotAllowed) as caught:
        await flavour.run(photos.save, nameless)
    assert heard == [("upload-rejected", None, {"upload_set": photos, "storage": nameless, "error": caught.value})]


async def test_save_all_announces_the_saved_once_all_are(flavour: Flavour, photos: Any, heard: list[Any]) -> None:
    with pytest.raises(UploadNotAllowed):
        await flavour.run(photos.save_all, [flavour.upload(), flavour.upload(filename="a.exe")])
    assert [name for name, _, _ in heard] == ["upload-rejected"]
    heard.clear()
    await flavour.run(photos.save_all, [flavour.upload(), flavour.upload()])
    assert [values["name"] for _, _, values in heard] == ["photo.jpg", "photo_1.jpg"]


async def test_the_app_is_the_sender(flavour: Flavour, heard: list[Any], tmp_path: Any) -> None:
    uset = flavour.UploadSet("photos")
    app = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path)
    flavour.configure_uploads(app, uset)
    if flavour.is_async:

        @app.post("/")
        async def upload() -> str:
            return str(await uset.save(flavour.upload()))
    else:

        @app.post("/")
        def upload() -> str:
            return str(uset.save(flavour.upload()))

    assert (await flavour.request(app, "POST", "/"))[0] == 200
    assert [(name, sender) for name, sender, _ in heard] == [("upload-saved", app)]


async def test_a_plain_receiver_hears_the_async_set_too(flavour: Flavour, photos: Any) -> None:
    heard = []
    with upload_saved.connected_to(lambda sender, name, **values: heard.append(name)):
        await flavour.run(photos.save, flavour.upload())
    assert heard == ["photo.jpg"]
