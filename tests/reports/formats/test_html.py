"""`index.html` in a real Chromium: what a mouse, a keyboard and a screen reader find, and what no hostile name can do."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.findings import finding_id, group
from crashmatrix.reports.formats.html import render
from crashmatrix.reports.formats.text import visible
from tests.reports.chromium import PROGRAM, Page, chromium
from tests.reports.samples import HOSTILE, found, hostile, result, summary


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    if PROGRAM is None and os.environ.get("CI") == "true":
        pytest.fail("no Chromium, in which the page is tested: apt-get install chromium")
    if PROGRAM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium() as page:
        yield page


@pytest.fixture
def page(browser: Page, tmp_path: Path) -> Iterator[Page]:
    """A page with the sample run; whatever its console complains of fails the test."""
    browser.complaints.clear()
    show(browser, tmp_path, *found())
    yield browser
    assert browser.complaints == []


def show(page: Page, folder: Path, run: RunSummary, results: list[ScenarioResult], fragment: str = "") -> None:
    path = folder / "index.html"
    path.write_text(render(run, results), encoding="utf-8")
    page.open(path, fragment)


def status(page: Page) -> str:
    return str(page("document.getElementById('status').textContent"))


def ids(page: Page) -> list[str]:
    return list(page("[...document.querySelectorAll('#list .open')].map(button => button.textContent)"))


def choose(page: Page, field: str, value: str) -> None:
    """Choose a value of a select as a person would: by focus and typing its name."""
    page(f"document.getElementById('{field}').focus()")
    page(f"document.getElementById('{field}').value = {json.dumps(value)}")
    page(f"document.getElementById('{field}').dispatchEvent(new Event('input', {{bubbles: true}}))")


def test_opens_quietly_and_alone(page: Page) -> None:
    """The page shows everything, worst first, requests no other file and logs no error."""
    assert status(page) == "1,320 scenarios"
    assert ids(page)[:2] == ["kill:wal.retire.after_unlink@3", "kill:wal.retire.after_unlink@10"]
    assert len(ids(page)) == 100
    assert [url for url in page.requests if not url.startswith("data:")] == [page("location.href")]
    assert (
        page("document.querySelector('.badge').textContent").strip() == "loses under kill and power; corruption not run"
    )
    assert page("document.querySelectorAll('.finding').length") == 3


@pytest.mark.daily(2)
@pytest.mark.parametrize(
    ("attempt", "blocked"),
    [
        ("fetch('http://127.0.0.1:9/').then(() => false, () => true)", True),
        ("new Promise(done => { const i = new Image(); i.onload = () => done(false); i.onerror = () => done(true);"
         " i.src = 'http://127.0.0.1:9/x.png' })", True),
        ("new Promise(done => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
         " document.body.append(s); done(window.ran !== 1) })", True),
    ],
)  # fmt: skip
def test_policy(page: Page, attempt: str, blocked: bool) -> None:
    """The page's own policy forbids it the network, and any script but its own."""
    assert page(attempt) is blocked
    page.until(lambda: page("1") and page.complaints)
    assert all("Content Security Policy" in complaint for complaint in page.complaints)
    page.complaints.clear()


def test_filters(page: Page) -> None:
    """Search, verdict, experiment and finding narrow the list together; clearing brings all back."""
    page.click("#q")
    page.type("retire UNLINK@3")
    assert status(page) == "22 of 1,320 scenarios"
    choose(page, "verdict", "loses")
    assert ids(page) == [
        "kill:wal.retire.after_unlink@3",
        "kill:wal.retire.after_unlink@31",
        "kill:wal.retire.after_unlink@38",
    ]
    page.click("#filters [type=reset]")
    choose(page, "experiment", "power")
    assert status(page) == "720 of 1,320 scenarios"
    page.click("[data-finding]")
    assert status(page) == "24 of 1,320 scenarios"
    assert {name.partition(":")[0] for name in ids(page)} == {"power"}


def test_pages_and_order(page: Page) -> None:
    """Every scenario is on exactly one page; a head sorts by its column, and again the other way round."""
    seen = ids(page)
    while not page("document.getElementById('next').disabled"):
        page.click("#next")
        seen += ids(page)
    assert len(seen) == len(set(seen)) == 1320
    page.click("[data-sort=hit]")
    page.click("[data-sort=hit]")
    assert page("document.querySelector('[data-sort=hit]').closest('th').getAttribute('aria-sort')") == "descending"
    hits = [int(name.partition("@")[2] or name.split(":")[2].partition("-")[0]) for name in ids(page)]
    assert hits == sorted(hits, reverse=True) and hits[0] == 159


def test_details(page: Page) -> None:
    """A scenario's name opens what is known of it, its finding and its replay command, and closes it again."""
    page.click("#list .open")
    text = page("document.querySelector('#list .more').innerText")
    for part in ("acknowledged, but gone: 3 (of 5 acknowledged)", "wal.retire.after_unlink=kill", "kill-loses-",
                 "crashmatrix replay kill:wal.retire.after_unlink@3 --report out"):  # fmt: skip
        assert part in text
    assert page("document.querySelector('#list .open').getAttribute('aria-expanded')") == "true"
    page.click("#list .open")
    assert page("document.querySelector('#list .more')") is None


def test_matrix_with_the_mouse(page: Page) -> None:
    """A cell of the matrix lists its scenarios; the filter it set can be taken away."""
    page.click("td.cell.broken")
    assert status(page) == "2 of 1,320 scenarios"
    assert ids(page) == ["kill:wal.retire.after_unlink@3", "kill:wal.retire.after_unlink@4"]
    page.click("#cell-filter")
    assert status(page) == "1,320 scenarios"


def test_matrix_with_the_keyboard(page: Page) -> None:
    """The matrix is one stop of the tab key; arrows move in it, Enter lists a cell, and the focus goes to the list."""
    assert page("document.querySelectorAll('[role=grid] [tabindex=\"0\"]').length") == 2
    page("document.querySelector('[role=grid] [tabindex=\"0\"]').focus()")
    page.press("ArrowRight", "ArrowDown")
    assert "wal.append.before_write @ 3 to 4" in page("document.getElementById('tip').innerText")
    page.press("ArrowUp")
    assert page("document.querySelectorAll('[role=grid] [tabindex=\"0\"]').length") == 2
    assert page("document.activeElement.getAttribute('aria-label')") == "1 loses, 1 safe"
    assert "wal.retire.after_unlink @ 3 to 4" in page("document.getElementById('tip').innerText")
    page.press("Enter")
    assert status(page) == "2 of 1,320 scenarios"
    assert page("document.activeElement.id") == "status"


def test_the_tab_key_reaches_everything(page: Page) -> None:
    """The tab key walks through the whole page, in its order, and what has the focus shows it."""
    page("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(
            page("document.activeElement.id || document.activeElement.className || document.activeElement.textContent")
        )
        assert page("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
    assert reached[0] == "skip"
    order = [reached.index(name) for name in ("link", "copy", "q", "verdict", "experiment", "finding", "open")]
    assert order == sorted(order)


def test_what_a_screen_reader_finds(page: Page) -> None:
    """Landmarks, headings, labelled fields, a grid whose cells have names: the accessibility tree has them."""
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    by_role: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            by_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"banner", "main", "navigation", "search", "contentinfo", "status"} <= by_role.keys()
    assert by_role["searchbox"] == ["Search"]
    assert by_role["combobox"] == ["Verdict", "Experiment", "Finding"]
    assert by_role["grid"] == ["kill: 10 failpoints", "power: 3 recordings"]
    assert by_role["gridcell"].count("1 loses, 1 safe") == 9
    assert "" not in [*by_role["button"], *by_role["link"], *by_role["gridcell"], *by_role["heading"]]
    assert "wal.retire.after_unlink" in by_role["rowheader"]


def test_the_address_keeps_the_filter(page: Page, tmp_path: Path) -> None:
    """A filtered view can be sent to somebody: the page's address brings it back."""
    page.click("td.cell.broken")
    page.click("#q")
    page.type("@3")
    address = page("location.hash")
    show(page, tmp_path, *found(), fragment="")
    assert status(page) == "1,320 scenarios"
    page("location.reload()")
    show(page, tmp_path, *found(), fragment=address)
    page.until(lambda: status(page) == "1 of 1,320 scenarios")
    assert ids(page) == ["kill:wal.retire.after_unlink@3"]


@pytest.mark.daily(2)
@pytest.mark.parametrize(
    "fragment",
    [
        "#?sort=__proto__",
        "#?sort=toString&down=1",
        "#?cell={",
        "#?cell=null",
        "#?sort=constructor&page=-7",
        "#?page=999&q=%00",
        "#?verdict=x",
    ],
)
def test_a_broken_address(page: Page, tmp_path: Path, fragment: str) -> None:
    """An address that was cut short or made up shows a list all the same."""
    show(page, tmp_path, *found(), fragment=fragment)
    assert "1,320 scenarios" in status(page)


def test_hostile_names_are_text(page: Page, tmp_path: Path) -> None:
    """Markup, quotes, control characters and writing direction in any name show as text, and nothing of it runs."""
    show(page, tmp_path, *hostile())
    assert page("document.images.length") == 0
    assert page("document.scripts.length") == 2
    assert page("document.querySelector('h1').textContent") == visible(HOSTILE)
    assert page("document.querySelector('#list .point').textContent") == visible(HOSTILE)
    page.click("td.cell.broken")
    assert status(page) == "1 scenario"
    page.click("#list .open")
    text = page("document.body.innerText")
    assert text.count("onerror=alert(1)") >= 20
    assert "\x1b" not in text and "\u202e" not in text
    assert (
        page("document.querySelector('#list .more .command code').textContent")
        == f"crashmatrix replay {visible(HOSTILE)}"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Page, scheme: str) -> None:
    """In light and in dark, no text is fainter than WCAG's 4.5 to 1."""
    page.prefer(scheme)
    faint = page(CONTRAST)
    page.prefer("light")
    assert faint == []


CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility() || ["SCRIPT", "STYLE", "OPTION"].includes(e.tagName) || e.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([e.tagName, e.className, e.textContent.slice(0, 40), ratio]);
  }
  return faint; })()"""


@pytest.mark.daily(2)
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_narrow(page: Page, width: int) -> None:
    """On any screen the page scrolls down only; wide tables scroll by themselves."""
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    wide = page("document.documentElement.scrollWidth")
    page.call("Emulation.clearDeviceMetricsOverride")
    assert wide <= width


@pytest.mark.slow
def test_thousands(page: Page, tmp_path: Path) -> None:
    """20,000 scenarios are all in the list, of which one page is shown; the benchmark says how long that takes."""
    results = [result(f"p{n // 200}", n % 200 + 1) for n in range(20_000)]
    show(page, tmp_path, summary(results), results)
    assert status(page) == "20,000 scenarios"
    assert page("document.querySelectorAll('#list tbody tr').length") == 100
    page.click("#q")
    page.type("p77@123")
    assert ids(page) == ["kill:p77@123"]


class Structure(HTMLParser):
    """Collects a page's elements, and checks that they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.append(tag)
        if tag not in ("meta", "link", "input", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize("name", ["found", "hostile", "safe", "nothing"])
def test_well_formed(name: str) -> None:
    """A page's elements are closed in order, and no name from outside adds one, whatever the run found."""
    runs = {
        "found": found(),
        "hostile": hostile(),
        "safe": (summary([result()]), [result()]),
        "nothing": (summary([]), []),
    }
    page = Structure()
    page.feed(render(*runs[name]))
    assert page.open == []
    assert page.names.count("script") == 2
    assert "img" not in page.names


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([result()], "In the one scenario, recovery returned what it owed."),
        ([result(), result(hit=2, verdict=Verdict.HOLE)], "The contract was broken in 1 of 2 scenarios."),
        ([], "Nothing can be said"),
    ],
)
def test_lead(results: list[ScenarioResult], sentence: str) -> None:
    """The page opens with what the run says, in a sentence."""
    assert sentence in render(summary(results), results)


def test_rows_name_the_finding_that_they_were_shown_to_be() -> None:
    """Each scenario has the id of the finding that counts it."""
    here, again = (
        result(hit=n, verdict=Verdict.LOSES, explanation=text) for n, text in enumerate(["gone", "again: gone"], 1)
    )
    known = replace(group([here])[0].finding, also=(finding_id(again),))
    assert finding_id(again) in render(summary([here, again]), [here, again])
    assert finding_id(again) not in render(summary([here, again], findings=[known]), [here, again])
