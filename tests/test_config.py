"""How a set is configured: config keys, several apps, and by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from conftest import FLAVOURS, Flavour


def configured(flavour: Flavour, uset: Any, **config: Any) -> Any:
    app = flavour.app(**config)
    flavour.configure_uploads(app, uset)
    return app.upload_set_config[uset.name]


def test_a_name_is_alphanumeric(flavour: Flavour) -> None:
    for name in ("my_files", "my-files", "", "a b"):
        with pytest.raises(ValueError, match=r"Name must be alphanumeric \(no underscores\)"):
            flavour.UploadSet(name)


def test_every_key_of_a_set_is_read(flavour: Flavour) -> None:
    config = configured(
        flavour,
        flavour.UploadSet("photos"),
        UPLOADED_PHOTOS_DEST="/var/photos",
        UPLOADED_PHOTOS_URL="http://localhost:6001/",
        UPLOADED_PHOTOS_ALLOW="exe,dll",
        UPLOADED_PHOTOS_DENY=["jpg"],
        UPLOADED_PHOTOS_MAX_SIZE="1000",
        UPLOADS_FSYNC="1",
    )
    assert config.tuple == ("/var/photos", "http://localhost:6001/", ("exe", "dll"), ("jpg",))
    assert config == flavour.UploadConfiguration("/var/photos", "http://localhost:6001/", ("exe", "dll"), ("jpg",))
    assert (config.max_size, config.fsync) == (1000, True)


def test_the_defaults_make_a_folder_and_a_url_for_each_set(flavour: Flavour) -> None:
    config = configured(
        flavour,
        flavour.UploadSet("photos"),
        UPLOADS_DEFAULT_DEST="/var/uploads",
        UPLOADS_DEFAULT_URL="http://localhost:6000",
    )
    assert config.tuple[:2] == ("/var/uploads/photos", "http://localhost:6000/photos/")
    assert (config.max_size, config.fsync) == (None, False)


@pytest.mark.parametrize("own", ["config", "callable", "path"])
def test_the_default_url_counts_only_with_the_default_destination(flavour: Flavour, own: str) -> None:
    config: dict[str, Any] = {"UPLOADS_DEFAULT_DEST": "/var/uploads", "UPLOADS_DEFAULT_URL": "http://localhost:6000/"}
    default: Any = None
    if own == "config":
        config["UPLOADED_PHOTOS_DEST"] = "/own/photos"
    else:
        default = Path("/own/photos") if own == "path" else lambda app: f"/own/{app.config['SUB']}"
        config["SUB"] = "photos"
    result = configured(flavour, flavour.UploadSet("photos", default_dest=default), **config)
    assert result.tuple[:2] == ("/own/photos", None)


def test_the_config_goes_before_default_dest_which_may_decline(flavour: Flavour) -> None:
    uset = flavour.UploadSet("photos", default_dest=lambda app: None)
    assert configured(flavour, uset, UPLOADS_DEFAULT_DEST="/var").destination == "/var/photos"
    uset = flavour.UploadSet("photos", default_dest=lambda app: "/callable")
    assert configured(flavour, uset, UPLOADED_PHOTOS_DEST=Path("/config")).destination == "/config"


def test_no_destination_is_an_error_that_names_the_keys(flavour: Flavour) -> None:
    with pytest.raises(RuntimeError, match=r"no destination for set photos.*UPLOADED_PHOTOS_DEST"):
        configured(flavour, flavour.UploadSet("photos"))


@pytest.mark.parametrize("size", ["ten", "-1", 1.5j, float("inf")])
def test_a_size_that_makes_no_sense_is_an_error_that_names_the_key(flavour: Flavour, size: Any) -> None:
    with pytest.raises(ValueError, match="UPLOADED_PHOTOS_MAX_SIZE"):
        configured(flavour, flavour.UploadSet("photos"), UPLOADED_PHOTOS_DEST="/x", UPLOADED_PHOTOS_MAX_SIZE=size)


def test_unset_environment_variables_count_as_not_set(flavour: Flavour) -> None:
    config = configured(
        flavour,
        flavour.UploadSet("photos"),
        UPLOADED_PHOTOS_DEST="",
        UPLOADED_PHOTOS_ALLOW="",
        UPLOADED_PHOTOS_MAX_SIZE="",
        UPLOADS_FSYNC="",
        UPLOADS_DEFAULT_DEST="/var",
    )
    assert config.tuple == ("/var/photos", None, (), ())
    assert (config.max_size, config.fsync) == (None, False)


async def test_a_relative_destination_is_where_it_was_when_configured(
    flavour: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uset = flavour.UploadSet("photos")
    app = flavour.app(UPLOADED_PHOTOS_DEST="relative/photos", SERVER_NAME="localhost")
    await asyncio.to_thread(flavour.configure_uploads, app, uset)
    monkeypatch.chdir("/")
    assert app.upload_set_config["photos"].destination == str(tmp_path / "relative/photos")
    async with Context(flavour, app):
        await flavour.run(uset.save, flavour.upload(b"here"))
    assert (tmp_path / "relative/photos/photo.jpg").read_bytes() == b"here"
    assert (await flavour.request(app, "GET", "/_uploads/photos/photo.jpg"))[2] == b"here"


class Context:
    """An app context of either flavour."""

    def __init__(self, flavour: Flavour, app: Any) -> None:
        self.flavour = flavour
        self.context = app.app_context()

    async def __aenter__(self) -> None:
        await self.context.__aenter__() if self.flavour.is_async else self.context.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.context.__aexit__(*exc_info) if self.flavour.is_async else self.context.__exit__(*exc_info)


async def test_one_set_on_two_apps_keeps_them_apart(flavour: Flavour, tmp_path: Path) -> None:
    uset = flavour.UploadSet("photos", "jpg")
    first = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path / "1", UPLOADED_PHOTOS_ALLOW="exe")
    second = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path / "2", UPLOADED_PHOTOS_URL="http://cdn/")
    for app in (first, second, first):
        flavour.configure_uploads(app, iter([uset]))
    async with Context(flavour, first):
        await flavour.run(uset.save, flavour.upload(filename="a.exe"))
        assert uset.config.base_url is None
    async with Context(flavour, second):
        assert not uset.file_allowed(None, "a.exe")
        assert uset.url("写 1.jpg") == "http://cdn/%E5%86%99%201.jpg"
        assert uset.path("a.jpg") == str(tmp_path / "2" / "a.jpg")
    assert (tmp_path / "1" / "a.exe").exists()


async def test_a_set_that_the_app_does_not_know_is_an_error(flavour: Flavour) -> None:
    message = r"The application is not properly configured. Please make sure to use `configure_uploads`\."
    app = flavour.app(UPLOADED_FILES_DEST="/files")
    for other_sets in ((), (flavour.UploadSet("files"),)):
        flavour.configure_uploads(app, other_sets)
        async with Context(flavour, app):
            with pytest.raises(RuntimeError, match=message):
                _ = flavour.UploadSet("photos").config
    with pytest.raises(RuntimeError, match=r"app(lication)? context"):
        _ = flavour.UploadSet("photos").config


async def test_configured_by_hand_a_set_needs_no_app(flavour: Flavour, photos: Any, destination: Path) -> None:
    photos._config.base_url = "http://cdn"
    name = await flavour.run(photos.save, flavour.upload())
    assert photos.url(name) == "http://cdn/photo.jpg"
    assert photos.path(name) == str(destination / name)
    assert await flavour.run(photos.list) == [name]
    await flavour.run(photos.delete, name)
    assert not await flavour.run(photos.exists, name)
    photos._config = None
    with pytest.raises(RuntimeError, match=r"app(lication)? context"):
        photos.path("x.jpg")


async def test_a_config_by_hand_goes_before_that_of_the_app(flavour: Flavour) -> None:
    uset = flavour.UploadSet("photos")
    app = flavour.app(UPLOADED_PHOTOS_DEST="/app")
    flavour.configure_uploads(app, uset)
    async with Context(flavour, app):
        uset._config = flavour.UploadConfiguration("/hand")
        assert uset.path("x.jpg") == "/hand/x.jpg"
        uset._config = None
        assert uset.path("x.jpg", "f") == "/app/f/x.jpg"


async def test_without_a_url_the_app_serves_the_set_unless_told_not_to(flavour: Flavour, tmp_path: Path) -> None:
    uset = flavour.UploadSet("photos")
    serving = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path, SERVER_NAME="example.org")
    flavour.configure_uploads(serving, uset)
    silent = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path, SERVER_NAME="example.org", UPLOADS_AUTOSERVE=False)
    flavour.configure_uploads(silent, uset)
    elsewhere = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path, UPLOADED_PHOTOS_URL="http://cdn/")
    flavour.configure_uploads(elsewhere, uset)
    assert [("_uploads" in app.blueprints) for app in (serving, silent, elsewhere)] == [True, False, False]
    async with Context(flavour, serving):
        assert uset.url("a/写?.jpg") == "http://example.org/_uploads/photos/a/%E5%86%99%3F.jpg"
        for outside in ("../../etc/passwd", "/etc/passwd"):
            with pytest.raises(ValueError, match="traversal"):
                uset.url(outside)
            with pytest.raises(ValueError, match="traversal"):
                uset.path(outside)
    async with Context(flavour, silent):
        with pytest.raises(RuntimeError, match="UPLOADED_PHOTOS_URL"):
            uset.url("a.jpg")


async def test_an_empty_url_keeps_a_set_from_being_served(flavour: Flavour, tmp_path: Path) -> None:
    uset = flavour.UploadSet("photos")
    app = flavour.app(UPLOADED_PHOTOS_DEST=tmp_path, UPLOADED_PHOTOS_URL="")
    flavour.configure_uploads(app, uset)
    assert "_uploads" not in app.blueprints
    async with Context(flavour, app):
        assert uset.url("a b.jpg") == "a%20b.jpg"


def test_a_set_of_the_other_flavour_is_refused(flavour: Flavour) -> None:
    (other,) = (each for each in FLAVOURS.values() if each is not flavour)
    for sets in (other.UploadSet(), (flavour.UploadSet(), other.UploadSet())):
        with pytest.raises(TypeError, match=r"is not a quart_uploads.*UploadSet"):
            flavour.configure_uploads(flavour.app(UPLOADS_DEFAULT_DEST="/x"), sets)


def test_extensions_that_can_be_read_once_are_kept(flavour: Flavour) -> None:
    uset = flavour.UploadSet("photos", (ext for ext in ("jpg", "png")))
    uset._config = flavour.UploadConfiguration("/x", None, iter(["exe"]), iter(["png"]))
    banned = flavour.UploadSet("files", flavour.AllExcept(ext for ext in ("php",)))
    banned._config = flavour.UploadConfiguration("/x")
    for _ in range(2):
        assert [uset.extension_allowed(ext) for ext in ("jpg", "png", "exe")] == [True, False, True]
        assert [banned.extension_allowed(ext) for ext in ("jpg", "php")] == [True, False]


def test_addslash(flavour: Flavour) -> None:
    assert flavour.addslash("http://x") == flavour.addslash("http://x/") == "http://x/"


def test_config_for_set_takes_the_defaults_of_its_caller(flavour: Flavour) -> None:
    app = flavour.app(UPLOADS_DEFAULT_DEST="/app")
    uset = flavour.UploadSet("photos")
    given = flavour.config_for_set(uset, app, {"dest": "/given", "url": "http://x"})
    assert given.tuple[:2] == ("/given/photos", "http://x/photos/")
    assert flavour.config_for_set(uset, app).destination == "/app/photos"
