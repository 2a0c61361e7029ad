"""One browser for all page tests; without Chromium they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.browser import CHROMIUM, Browser, Page, started


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with started() as running:
        yield running


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A fresh tab that must end without a complaint and without having asked for anything but itself."""
    page = browser.page()
    yield page
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith("file:")] == []
    page.close()
