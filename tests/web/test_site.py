"""The gallery's pages: the same every time, every link leads somewhere, the search finds."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from chalkgrad.cli import main
from chalkgrad.layers import GALLERY
from chalkgrad.web import site
from tests.web.browser import Page

FEW = ("affine", "relu", "softmax", "softmax_loss", "l2")


@pytest.fixture(scope="module")
def few() -> list[site.Group]:
    kept = [site.Group(g.title, g.about, tuple(n for n in g.names if n in FEW)) for g in site.groups()]
    return [group for group in kept if group.names]


@pytest.fixture(scope="module")
def folder(few: list[site.Group], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gallery")
    site.write_site(made, lambda path, text: path.write_text(text, encoding="utf-8") and None, few)
    return made


def test_every_layer_of_the_gallery_is_in_one_group() -> None:
    names = [name for group in site.groups() for name in group.names]
    assert sorted(names) == sorted(GALLERY)
    assert all(group.about for group in site.groups())


def test_the_same_layers_give_the_same_bytes(folder: Path, few: list[site.Group]) -> None:
    again: dict[Path, str] = {}
    site.write_site(folder, again.__setitem__, few)
    assert {path.name for path in again} == {path.name for path in folder.iterdir()}
    for path, text in again.items():
        assert path.read_text(encoding="utf-8") == text


def test_every_link_leads_to_a_page_or_a_place_on_it(folder: Path) -> None:
    for path in folder.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        names = set(re.findall(r'\bid="([^"]+)"', text))
        links = re.findall(r'href="([^"]+)"', text)
        assert links
        for link in links:
            if link.startswith("#"):
                assert link[1:] in names
            elif not link.startswith("https://"):
                assert (folder / link).is_file(), f"{path.name} links to {link}"


def test_every_picture_is_a_file_of_its_own(folder: Path) -> None:
    for name in FEW:
        picture = ET.parse(folder / f"{name}.svg").getroot()
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        texts = ["".join(t.itertext()) for t in picture.iter("{http://www.w3.org/2000/svg}text")]
        program = GALLERY[name].derive().record.program
        assert len(texts) >= 2 * len(program.definitions)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_index_fits_and_its_search_finds(folder: Path, width: int, tab: Page) -> None:
    shown = "[...document.querySelectorAll('.card')].filter((c) => c.checkVisibility()).map((c) => c.id)"
    tab.open(folder / "index.html", width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert sorted(tab.run(shown)) == sorted(FEW)
    tab.run("document.querySelector('.search input').focus()")
    tab.call("Input.insertText", text="Cross-Entropy softmax")
    assert tab.run(shown) == ["softmax_loss"]
    assert tab.run("document.querySelector('.found').textContent") == f"1 of {len(FEW)}"


def test_the_index_needs_no_script(folder: Path, tab: Page) -> None:
    tab.scripts(False)
    tab.open(folder / "index.html")
    assert tab.run("[...document.querySelectorAll('.card')].every((c) => c.checkVisibility())")
    assert not tab.run("document.querySelector('.search').checkVisibility()")


def test_the_command_writes_the_folder(
    few: list[site.Group], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "groups", lambda: tuple(few))
    done = CliRunner().invoke(main, ["gallery", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "index.html").is_file()
    assert f"{len(FEW)} layers" in done.stdout
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(main, ["gallery", "-o", str(tmp_path / "file")])
    assert refused.exit_code == 2
    assert "is a file" in refused.stderr


@pytest.mark.parametrize(
    ("doc", "said", "source"),
    [
        ("o = p v. Source: https://x.org/1", "o = p v.", "https://x.org/1"),
        ("y = x,\nlong.\n\nSource: https://x.org/2.", "y = x, long.", "https://x.org/2"),
        ("", "", ""),
    ],
)
def test_what_a_docstring_says(doc: str, said: str, source: str) -> None:
    assert site.first_sentence(doc) == said
    assert site.source_of(doc) == source


def test_a_card_lists_the_adjoints_that_its_gradients_refer_to() -> None:
    layer = GALLERY["attention"]
    named = {definition.target for definition in layer.derive().record.chosen.definitions}
    card = ET.fromstring(
        site._card("attention", layer).replace("<svg", "<!-- <svg").replace("</svg>", "</svg> -->")
    )
    gradients = card.findall("div")[0].findall("div")[1]
    assert len(gradients.findall("div")) == len(named) > len(layer.derive().results)
