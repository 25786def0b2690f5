"""The photolog in a real browser, from a real server."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from pictures import png, svg

import quart_uploads

if not os.environ.get("CI"):  # there it must not go missing unnoticed
    pytest.importorskip("pytest_playwright")
from playwright.sync_api import Browser, Locator, Page, Playwright, Request, Route, expect, sync_playwright

pytestmark = pytest.mark.slow

APP = ROOT / "docs/examples/photolog/app.py"
MAX_SIZE = 3_000_000


# pytest-playwright keeps its event loop running, in the main thread, until the session ends; tests that are
# coroutines could not run after the first page. These fixtures have it only for the tests of this module.


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright, pytestconfig: pytest.Config) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        missing = f"none of {', '.join(names)} is installed; in Debian: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    browser = playwright.chromium.launch(
        executable_path=executable,
        headless=not pytestconfig.getoption("--headed"),
        args=["--no-sandbox", *quiet],  # root, as in a container, has no sandbox
    )
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1000, "height": 700}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the URL of the demo, and the directory of its files."""
    directory = tmp_path_factory.mktemp("photolog")
    log = directory / "log"
    environment = os.environ | {
        "PYTHONPATH": str(Path(quart_uploads.__file__).parents[1]),
        "QUART_UPLOADED_PHOTOS_DEST": str(directory / "photos"),
        "QUART_UPLOADED_PHOTOS_MAX_SIZE": str(MAX_SIZE),
    }
    command = [sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:0", f"{APP}:create_app()"]
    with log.open("w") as output, subprocess.Popen(command, env=environment, stderr=output, cwd=directory) as process:
        try:
            yield address_in(log, process), directory / "photos"
        finally:
            process.terminate()


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"Running on (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"the demo does not start:\n{log.read_text()}")


@pytest.fixture
def log(page: Page, server: tuple[str, Path]) -> Iterator[Page]:
    """An empty photolog with stopped timers. An error on its page fails the test."""
    url, directory = server
    shutil.rmtree(directory, ignore_errors=True)
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.clock.install()
    page.goto(url)
    page.clock.pause_at(time.time() + 3600)
    yield page
    assert errors == []


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    payloads = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
    page.get_by_label("Drop photos here").set_input_files(payloads)  # type: ignore[arg-type]


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    encoded = [[name, base64.b64encode(content).decode()] for name, content in files]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, content] of files)
                transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
            return transfer;
        }""",
        encoded,
    )
    target = page.locator("#upload")
    target.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(target).to_have_class("over")
    target.dispatch_event("drop", {"dataTransfer": transfer})
    expect(target).not_to_have_class("over")


def rows(page: Page, state: str) -> Locator:
    return page.locator(f"#uploads [data-state={state}]")


def photo(page: Page, name: str) -> Locator:
    return page.locator(".photo", has=page.get_by_text(name, exact=True))


def expect_photos(page: Page, *names: str) -> None:
    """Check that the gallery has these photos, and that the browser shows each of them."""
    expect(page.locator(".photo")).to_have_count(len(names))
    expect(page.locator("#count")).to_have_text(f"{len(names)} photo{'s' * (len(names) != 1)}")
    for name in names:
        image = photo(page, name).locator("img")
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", value=True)
        assert image.evaluate("image => image.naturalWidth") > 0


def test_photos_are_chosen_and_shown(log: Page, server: tuple[str, Path]) -> None:
    expect(log.get_by_text("No photos yet")).to_be_visible()
    names = [f"{n}.png" for n in range(5)]
    choose(log, *[(name, png(colour=(40 * n, 90, 120))) for n, name in enumerate(names)])

    expect(rows(log, "done")).to_have_count(5)
    for bar in rows(log, "done").get_by_role("progressbar").all():
        expect(bar).to_have_js_property("value", 1)
    expect_photos(log, *names)
    expect(log.get_by_text("No photos yet")).to_be_hidden()
    expect(log.get_by_role("status")).to_contain_text("is saved")
    assert sorted(path.name for path in server[1].iterdir()) == names

    log.clock.run_for(10_000)
    expect(rows(log, "done")).to_have_count(0)
    log.reload()
    expect_photos(log, *names)


def test_dropped_photos_and_a_refused_file(log: Page) -> None:
    drop(log, ("beach.png", png()), ("notes.txt", b"hello"), ("dunes.png", png(colour=(200, 160, 90))))

    expect_photos(log, "beach.png", "dunes.png")
    refused = rows(log, "refused")
    expect(refused).to_have_count(1)
    expect(refused.locator(".name")).to_have_text("notes.txt")
    expect(refused).to_contain_text("notes.txt was not saved: .txt files are not allowed here")
    log.clock.run_for(60_000)
    expect(refused).to_be_visible()
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_progress_is_shown_and_three_uploads_run_at_a_time(log: Page) -> None:
    network = log.context.new_cdp_session(log)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    network.send("Network.emulateNetworkConditions", slow)
    log.evaluate("""() => {
        window.seen = { sending: 0, values: new Set() };
        new MutationObserver(() => {
            const sending = document.querySelectorAll("[data-state=sending]");
            seen.sending = Math.max(seen.sending, sending.length);
            for (const row of sending) seen.values.add(row.querySelector("progress").value);
        }).observe(document.getElementById("uploads"), { subtree: true, attributes: true, childList: true });
    }""")
    content = png() + bytes(300_000)
    choose(log, *[(f"{n}.png", content) for n in range(5)])

    expect(rows(log, "done")).to_have_count(5, timeout=60_000)
    assert log.evaluate("seen.sending") == 3
    assert [value for value in log.evaluate("[...seen.values]") if 0 < value < 1]


def test_a_large_photo_is_refused_before_it_is_sent(log: Page) -> None:
    sent: list[Request] = []
    log.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    choose(log, ("huge.png", bytes(MAX_SIZE + 1)), ("exact.png", png().ljust(MAX_SIZE, b"\0")))

    expect(rows(log, "refused")).to_contain_text("huge.png is too large. A photo may have 3.0 MB.")
    expect_photos(log, "exact.png")
    assert len(sent) == 1


def test_the_servers_word_on_a_large_photo_is_shown(log: Page) -> None:
    def without_limit(route: Route) -> None:
        if route.request.method == "GET":
            route.fulfill(body=route.fetch().text().replace(f'"{MAX_SIZE}"', '""'), content_type="text/html")
        else:
            route.continue_()

    log.route("**/", without_limit)
    log.reload()
    choose(log, ("huge.png", bytes(MAX_SIZE + 1)))
    expect(rows(log, "refused")).to_contain_text("it is larger than 3 MB")


def test_a_server_that_fails_or_is_gone(log: Page) -> None:
    def fail(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=502, body="<h1>Bad Gateway</h1>")
        else:
            route.continue_()

    log.route("**/*", fail)
    choose(log, ("a.png", png()))
    expect(rows(log, "refused")).to_contain_text("a.png: the server answered 502.")
    log.unroute_all()
    log.context.set_offline(True)
    choose(log, ("b.png", png()))
    expect(rows(log, "refused").last).to_contain_text("b.png could not be sent.")


def test_photos_are_deleted(log: Page, server: tuple[str, Path]) -> None:
    choose(log, ("a.png", png()), ("b.png", png()), ("写 真#%.png", png()))
    expect_photos(log, "a.png", "b.png", "写_真.png")

    photo(log, "a.png").get_by_role("button", name="Delete a.png").click()
    expect_photos(log, "b.png", "写_真.png")
    expect(log.get_by_role("status")).to_have_text("a.png is deleted.")
    log.reload()
    expect_photos(log, "b.png", "写_真.png")

    # By keyboard: the focus goes on to the next photo, and in the end to the file picker.
    for left in (1, 0):
        button = log.locator(".photo button").first
        button.focus() if left else expect(button).to_be_focused()
        log.keyboard.press("Enter")
        expect(log.locator(".photo")).to_have_count(left)
    expect(log.locator("#files")).to_be_focused()
    assert list(server[1].iterdir()) == []


def test_names_are_shown_as_text(log: Page, server: tuple[str, Path]) -> None:
    name = "<img src=x onerror=\"document.title='ran'\">"
    drop(log, (name + ".txt", b""))  # is refused
    expect(rows(log, "refused").locator(".name")).to_have_text(name + ".txt")
    answer = {"name": name, "url": "/x", "delete_url": "/y", "size": 1, "modified": ""}
    log.route("**/", lambda route: route.fulfill(status=201, json={"saved": [answer], "refused": []}))
    drop(log, (name + ".png", png()))
    expect(log.locator(".photo .name")).to_have_text(name)
    log.unroute_all()
    server[1].mkdir(exist_ok=True)
    (server[1] / (name + ".png")).write_bytes(png())
    log.reload()
    expect_photos(log, name + ".png")
    expect(log).to_have_title("Photolog")


def test_an_uploaded_svg_is_shown_and_runs_no_script(log: Page) -> None:
    script = "document.documentElement.setAttribute('data-ran', 'yes'); fetch('/canary')"
    choose(log, ("evil.svg", svg(script)))
    expect_photos(log, "evil.svg")
    url = photo(log, "evil.svg").locator("img").get_attribute("src")
    assert url is not None
    asked: list[str] = []
    log.on("request", lambda request: asked.append(request.url))

    # Without the headers it would run.
    log.route("**/control.svg", lambda route: route.fulfill(body=svg(script), content_type="image/svg+xml"))
    log.goto(url.rsplit("/", 1)[0] + "/control.svg")
    expect(log.locator(":root")).to_have_attribute("data-ran", "yes")
    assert [asked_url for asked_url in asked if asked_url.endswith("/canary")]

    asked.clear()
    log.goto(url, wait_until="networkidle")
    expect(log.locator("rect")).to_be_visible()
    expect(log.locator(":root")).not_to_have_attribute("data-ran", "yes")
    assert asked == [url]


def test_fits_a_phone_in_light_and_dark(log: Page) -> None:
    log.set_viewport_size({"width": 320, "height": 640})
    choose(log, ("a_rather_long_name_" * 6 + ".png", png()), ("no" * 60 + ".txt", b""))
    expect(rows(log, "refused")).to_have_count(1)
    expect(log.locator(".photo")).to_have_count(1)
    assert log.evaluate("document.documentElement.scrollWidth") <= 320
    papers = []
    for scheme in ("light", "dark"):
        log.emulate_media(color_scheme=scheme)
        papers.append(log.locator("body").evaluate("body => getComputedStyle(body).backgroundColor"))
    assert len(set(papers)) == 2


def test_the_keyboard_alone_reaches_the_file_picker(log: Page) -> None:
    with log.expect_file_chooser() as chooser:  # from the start: it takes the browser a moment to watch out for it
        log.keyboard.press("Tab")
        expect(log.locator("#files")).to_be_focused()
        log.keyboard.press("Enter")
    assert chooser.value.is_multiple()


def test_the_plain_form_needs_no_script(browser: Browser, server: tuple[str, Path]) -> None:
    url, directory = server
    shutil.rmtree(directory, ignore_errors=True)
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(url)
        choose(page, ("a.png", png()), ("b.png", png()))
        page.get_by_role("button", name="Upload").click()
        expect(page.locator(".photo")).to_have_count(2)
        choose(page, ("notes.txt", b"hello"))
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert")).to_contain_text("notes.txt was not saved")
        page.get_by_role("button", name="Delete a.png").click()
        expect(page.locator(".photo .name")).to_have_text(["b.png"])
