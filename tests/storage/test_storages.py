"""What every storage promises, by the check that the library offers to others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import STAGINGS
from engines import BUCKET, Engine

from quart_uploads._names import StoredName
from quart_uploads.storage import LocalStorage, StagedFile, Storage
from quart_uploads.storage.destination import make_storage
from quart_uploads.testing import check_storage


@pytest.mark.parametrize("staging", STAGINGS, ids=lambda staging: staging.__name__)
def test_a_directory_is_a_storage(
    destination: Path, staging: Callable[..., None], monkeypatch: pytest.MonkeyPatch, descriptors: Any
) -> None:
    staging(monkeypatch)
    check_storage(LocalStorage(str(destination)))
    assert [path for path in destination.rglob("*") if path.is_file()] == []


def test_memory_is_a_storage() -> None:
    check_storage(
        make_storage(f"memory://{secrets.token_hex(8)}/photos", {}, "photos", fsync=False, unconditional=False)
    )


@pytest.mark.slow
def test_a_bucket_is_a_storage(engine: Engine) -> None:
    check_storage(
        make_storage(f"s3://{BUCKET}/conformance", engine.store(), "photos", fsync=False, unconditional=False)
    )
    assert engine.objects("conformance") == {}
    assert engine.multipart_uploads("conformance") == []


class Forgetful(LocalStorage):
    """Breaks one promise at a time."""

    broken = ""

    def publish(self, staged: StagedFile, target: StoredName, *, overwrite: bool = False) -> Any:
        return super().publish(staged, target, overwrite=overwrite or self.broken == "publish")

    def withdraw(self, staged: StagedFile, target: StoredName) -> None:
        if self.broken != "withdraw":
            super().withdraw(staged, target)

    def list(self, folder: str = "") -> Iterator[str]:
        names = list(super().list(folder))
        return reversed(names) if self.broken == "list" else iter(names)

    def delete(self, name: str) -> None:
        if self.broken == "delete":
            self.stat(name)
        else:
            super().delete(name)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ("publish", "a name is given once"),
        ("withdraw", "what was withdrawn is not there"),
        ("list", "names are listed in order"),
        ("delete", "a deleted file is not there"),
    ],
)
def test_the_check_tells_which_promise_is_broken(destination: Path, broken: str, promise: str) -> None:
    storage = Forgetful(str(destination))
    storage.broken = broken
    with pytest.raises(AssertionError, match=promise):
        check_storage(storage)


async def test_a_set_can_be_kept_in_a_storage_of_your_own(flavour: Any, destination: Path) -> None:
    class Elsewhere(LocalStorage):
        def path(self, name: str) -> str:
            return super().path(f"elsewhere/{name}")

    storage: Storage[Any] = Elsewhere(str(destination))
    app = flavour.app(UPLOADED_PHOTOS_DEST=storage)
    photos = flavour.UploadSet("photos", flavour.IMAGES)
    flavour.configure_uploads(app, photos)
    photos._config = app.upload_set_config["photos"]
    assert await flavour.run(photos.save, flavour.upload()) == "photo.jpg"
    assert (destination / "photo.jpg").exists()
