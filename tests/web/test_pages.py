"""Pages in a real browser: they fit, they can be read in light and dark, and what moves works."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalkgrad.layers import GALLERY
from tests.web.browser import Page

LAYERS = ("affine", "softmax_loss", "batch_norm", "attention")
WIDTHS = (390, 1440)

# Every text's contrast with what is painted behind it, by the formula of WCAG 2.
CONTRAST = """(() => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    if (e.closest("script")) continue;
    const style = getComputedStyle(e);
    const ink = parts(e.closest("svg") && style.fill !== "none" ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    worst.push([(a + 0.05) / (b + 0.05), e.tagName, e.textContent.slice(0, 30)]);
  }
  return worst.sort((x, y) => x[0] - y[0])[0];
})()"""

FLAT = """[...document.querySelectorAll("math")].filter((m) => m.checkVisibility()).filter((m) => {
  const box = m.getBoundingClientRect(); return box.width < 2 || box.height < 5; }).length"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name in LAYERS:
        made[name] = folder / f"{name}.html"
        made[name].write_text(GALLERY[name].derive().to_html(), encoding="utf-8")
    return made


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_page_fits_and_can_be_read(
    name: str, width: int, dark: bool, pages: dict[str, Path], tab: Page
) -> None:
    tab.open(pages[name], width, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("document.querySelectorAll('math').length") > 20
    assert tab.run(FLAT) == 0
    ratio, tag, text = tab.run(CONTRAST)
    assert ratio >= 4.5, f"<{tag}> {text!r} has a contrast of {ratio:.1f}"
    assert tab.run("[...document.querySelectorAll('.picture')].filter(p => p.checkVisibility()).length") == 1


def test_only_the_page_itself_is_asked_for(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["affine"])
    assert set(tab.requests) == {pages["affine"].as_uri()}


def test_the_copy_button_gives_the_code(pages: dict[str, Path], tab: Page) -> None:
    tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.open(pages["affine"])
    tab.point(".copy", click=True)
    tab.wait("document.querySelector('.copy').textContent === 'Copied'")
    assert tab.run("navigator.clipboard.readText()").rstrip() == GALLERY["affine"].source("numpy").rstrip()


def test_the_copy_button_selects_the_code_where_there_is_no_clipboard(
    pages: dict[str, Path], tab: Page
) -> None:
    tab.open(pages["affine"])
    tab.run("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
    tab.point(".copy", click=True)
    tab.wait("document.querySelector('.copy').textContent !== 'Copy'")
    assert tab.run("getSelection().toString()").startswith("import numpy as np")


TOLD = "getComputedStyle(document.body, '::after').content"


def test_pointing_at_a_symbol_tells_its_shape(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["affine"], 390)
    assert tab.run(TOLD) == "none"
    tab.point("#forward-pass .chain .t")
    assert tab.run(TOLD) == '"f: N × K (computed)"'
    tab.point("#result .chain .lhs .t")
    assert tab.run(TOLD) == '"∂L/∂x: N × D (gradient)"'


def test_the_tab_key_stops_at_the_symbols_of_the_forward_pass(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["affine"])
    found = ""
    for _ in range(20):
        tab.press("Tab", 9)
        found = tab.run(TOLD)
        if found != "none":
            break
    assert found == '"f: N × K (computed)"'
    assert tab.run("document.activeElement.classList.contains('t')")


def test_without_scripts_nothing_is_missing_but_the_buttons(pages: dict[str, Path], tab: Page) -> None:
    tab.scripts(False)
    tab.open(pages["affine"])
    assert not tab.run("document.querySelector('.copy').checkVisibility()")
    assert not tab.run("document.querySelector('.theme').checkVisibility()")
    assert tab.run("document.querySelector('pre').checkVisibility()")
    assert tab.run(FLAT) == 0
    tab.point("#forward-pass .chain .t")
    assert tab.run(TOLD) == '"f: N × K (computed)"'


def test_the_switch_between_light_and_dark_is_kept(pages: dict[str, Path], tab: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    tab.open(pages["affine"])
    light = tab.run(paper)
    tab.point(".theme", click=True)
    dark = tab.run(paper)
    assert dark != light
    tab.open(pages["affine"])
    assert tab.run(paper) == dark
    tab.point(".theme", click=True)
    assert tab.run(paper) == light
    tab.run("localStorage.clear()")
    tab.dark(True)
    tab.open(pages["affine"], dark=True)
    assert tab.run(paper) == dark


def test_paper_gets_black_on_white_and_no_buttons(pages: dict[str, Path], tab: Page, tmp_path: Path) -> None:
    tab.open(pages["batch_norm"], dark=True)
    tab.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    tab.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.run("document.querySelector('.theme').checkVisibility()")


def test_an_lstm_cell_and_its_brief_page_fit_a_phone(tab: Page, tmp_path: Path) -> None:
    derivation = GALLERY["lstm_cell"].derive("c")
    heights = []
    for brief in (False, True):
        path = tmp_path / f"{brief}.html"
        path.write_text(derivation.to_html(brief=brief, verified=False), encoding="utf-8")
        tab.open(path, 390)
        assert tab.run("document.documentElement.scrollWidth") <= 390
        heights.append(tab.run("document.querySelector('#backward-pass').offsetHeight"))
    assert heights[1] < heights[0] / 2
