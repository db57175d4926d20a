"""Pages in headless Chromium: they open without an error or another machine, fit narrow windows, and answer their user.

`make browser` runs these. They need Playwright (`pip install playwright`) and Chromium, or the browser whose path is in
the environment variable BROWSER.
"""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from surrogate.config import EvaluateConfig
from surrogate.report.page import write_report
from surrogate.runs.evaluate import evaluate
from surrogate.runs.packing import pack
from tests.runs.tiny_run import train

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
FOUND = (os.environ.get("BROWSER"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
BROWSER = next((path for path in FOUND if path), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here"),
    pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning"),
]
SIZES = {"a phone": (360, 740), "a screen": (1280, 900)}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with an evaluated run and its packed file."""
    folder = tmp_path_factory.mktemp("browser")
    train(folder)
    evaluate(EvaluateConfig(str(folder / "run"), batch_size=4, repeats=1, speedup_samples=1, gradient_samples=0))
    pack(folder / "run", folder / "run.npz", {"about": "a test"})
    return folder


@pytest.fixture(scope="module")
def address(run) -> Iterator[str]:
    """The address of a playground."""
    port = 5471
    arguments = ["wave", "play", str(run / "run.npz"), "--port", str(port)]
    code = f"import sys; sys.argv = {arguments!r}; from surrogate.commands.wave import main; main()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as server:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if "Ctrl-C ends it" in line:
                break
        else:
            pytest.fail(said)
        yield f"http://127.0.0.1:{port}/"
        server.terminate()


class Visit:
    """A page with what its console and its network said."""

    def __init__(self, browser, size: tuple[int, int]):
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.addresses.append(request.url))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("size", SIZES)
def test_report(browser, run, size):
    """The report of a run fits a phone and a screen, and asks for nothing else."""
    report, _ = write_report(run / "run")
    visit = Visit(browser, SIZES[size])
    visit.page.goto(report.absolute().as_uri())
    assert visit.page.locator("img").count() > 3
    broken = visit.page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
    assert (visit.errors, broken) == ([], 0)
    assert visit.overflow() <= 0
    assert all(address.startswith(("file:", "data:")) for address in visit.addresses)


def test_scrubbing(browser, run):
    """The slider of a movie shows one frame, and `play` goes on from there; a training's curve has its numbers."""
    report, _ = write_report(run / "run")
    visit = Visit(browser, SIZES["a phone"])
    visit.page.goto(report.absolute().as_uri())
    movie = visit.page.locator(".movie").first
    frames = movie.locator("img")
    shown = "movie => [...movie.querySelectorAll('img')].map(image => image.hidden).indexOf(false)"
    assert frames.count() > 1 and movie.evaluate(shown) == 0
    last = frames.count() - 1
    movie.locator("input").fill(str(last))
    assert movie.evaluate(shown) == last and frames.locator("visible=true").count() == 1
    movie.locator("button").click()
    visit.page.wait_for_timeout(500)
    assert movie.evaluate(shown) != last
    movie.locator("button").click()
    numbers = visit.page.locator("figure:has(img[alt=training]) details")
    numbers.locator("summary").click()
    assert numbers.locator("td").first.is_visible() and "loss" in numbers.inner_text()
    assert visit.errors == [] and visit.overflow() <= 0


def table_of(visit: Visit) -> str:
    return visit.page.locator("table").first.inner_text()


@pytest.mark.parametrize("size", SIZES)
def test_playground(browser, address, size):
    """It opens on either size without an error, from this machine alone."""
    visit = Visit(browser, SIZES[size])
    visit.page.goto(address)
    visit.page.locator("table").first.wait_for(timeout=30_000)
    assert "surrogate" in table_of(visit)
    assert visit.errors == []
    assert visit.overflow() <= 0
    assert all(place.startswith((address, "data:", "blob:")) for place in visit.addresses)


def test_two_users(browser, address):
    """What one user draws, sends and inverts leaves the other's page as it is."""
    ours, theirs = (Visit(browser, SIZES["a screen"]) for _ in range(2))
    for visit in (ours, theirs):
        visit.page.goto(address)
        visit.page.locator("table").first.wait_for(timeout=30_000)
    before = table_of(theirs)
    first = table_of(ours)
    ours.page.get_by_role("button", name="Another").click()
    ours.page.get_by_role("status").wait_for(timeout=10_000)
    ours.page.wait_for_timeout(2000)
    assert table_of(ours) != first
    content = io.BytesIO()
    np.save(content, np.array([{}], dtype=object), allow_pickle=True)
    sent = {"name": "bad.npy", "mimeType": "application/octet-stream", "buffer": content.getvalue()}
    ours.page.locator("input[type=file]").set_input_files(sent)
    ours.page.get_by_text("bad.npy").wait_for(timeout=10_000)
    ours.page.get_by_role("button", name="Invert").click()
    ours.page.get_by_text("Inverted: the misfit fell").wait_for(timeout=120_000)
    assert table_of(theirs) == before
    assert ours.errors == theirs.errors == []
