"""Pictures of people's pages, each in light and dark, wide and narrow; and what a machine can say of them.

They go to target/pictures, for people to look at: what is not looked at is not known to be good.
"""

import os
from pathlib import Path

from playwright.sync_api import Page

from .browsing import NARROW, WIDE
from .parts import part

FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "pictures"
# What is read at four times its size on a wide screen is as wide as this (WCAG 2.2, 1.4.10).
NARROWEST = {"width": 320, "height": 640}
# Every rule that axe-core has, also where it only recommends; and what it cannot tell counts as well.
READ = """async () => {
    const found = await axe.run(document, { resultTypes: ['violations', 'incomplete'] });
    return [...found.violations, ...found.incomplete].flatMap(
        rule => rule.nodes.map(node => `${rule.id}: ${node.target}: ${node.failureSummary ?? node.any[0]?.message}`));
}"""


class Album:
    """Takes pictures, and lets nothing in that a reader with other eyes could not use."""

    def __init__(self):
        self._axe = (part("axe-core") / "node_modules/axe-core/axe.min.js").read_text()
        FOLDER.mkdir(parents=True, exist_ok=True)

    def take(self, page: Page, name: str) -> None:
        heading = page.locator("h1").all_inner_texts()
        assert len(heading) == 1, (name, heading)
        assert page.title() == f"{heading[0]} · Agent access", name
        assert page.locator("html").get_attribute("lang") == "en", name
        for landmark in ("banner", "main", "contentinfo"):
            assert page.get_by_role(landmark).count() == 1, (name, landmark)
        page.evaluate(self._axe)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
                self._fits(page, name, viewport)
                if (scheme, size) in (("light", "wide"), ("dark", "narrow")):
                    assert page.evaluate(READ) == [], (name, scheme, size)
                page.screenshot(path=FOLDER / f"{name}-{scheme}-{size}.png", full_page=True)
        self._fits(page, name, NARROWEST)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WIDE)

    def _fits(self, page: Page, name: str, viewport: dict) -> None:
        page.set_viewport_size(viewport)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{name} is {width} wide in {viewport['width']}"
