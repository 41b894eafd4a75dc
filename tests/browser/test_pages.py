"""Every page shows what it is for, with no error in the console and nothing that the policy of the page refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import PROJECT

PAGES = {
    "experiments": ("/", "rings gone on"),
    "charts": ("/?charts=1&selected=exp_001,exp_002", "accuracy"),
    "grouped": ("/?group=config.model.hidden", "16"),
    "overview": ("/experiments/exp_001", "The best so far."),
    "failed": ("/experiments/exp_005", "the loss is not a number at epoch 12"),
    "experiment charts": ("/experiments/exp_001/charts", "accuracy"),
    "system": ("/experiments/exp_001/system", "No system metrics yet"),
    "logs": ("/experiments/exp_001/logs", "epoch 40"),
    "artifacts": ("/experiments/exp_001/artifacts", "confusion.csv"),
    "provenance": ("/experiments/exp_001/provenance", "a change that is not committed"),
    "media": ("/experiments/exp_001/media", "regions"),
    "lineage": ("/experiments/exp_001/lineage", "rings gone on"),
    "compare two": ("/compare?ids=exp_001,exp_002", "hidden"),
    "side by side": ("/compare?ids=exp_001,exp_002,exp_003,exp_004&tab=side", "training.lr"),
    "compare charts": ("/compare?ids=exp_001,exp_002&tab=charts", "accuracy"),
    "parallel": ("/compare?ids=exp_001,exp_002,exp_003,exp_004&tab=parallel", "training.lr"),
    "scatter": ("/compare?ids=exp_001,exp_002,exp_003,exp_004&tab=scatter", "loss"),
    "boxes": ("/compare?ids=exp_001,exp_002,exp_003,exp_004&tab=boxes", "loss"),
    "importance": ("/compare?ids=exp_001,exp_002,exp_003,exp_004&tab=importance", "at least 10 are needed"),
    "alerts": ("/alerts", "alert"),
}


def settled(page: Page) -> Page:
    """Wait until nothing is being fetched that the page waits for, and every picture is drawn."""
    expect(page.locator(".spinner, .skeleton")).to_have_count(0)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, trained, visit) -> None:
    path, shown = PAGES[name]
    visitor = visit(trained)
    if name == "importance":
        visitor.allow("422")  # four experiments are too few for it, which the page says
    page = visitor.open(path)
    expect(page.locator("#main")).to_contain_text(re.compile(re.escape(shown), re.IGNORECASE))
    settled(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    if name == "importance":
        expect(page.get_by_role("heading", name="What matters cannot be told yet")).to_be_visible()


@pytest.mark.parametrize("path", ["/experiments/exp_999", "/nowhere", "/compare", "/compare?ids=exp_999"])
def test_what_is_not_there_is_said(path: str, trained, visit) -> None:
    visitor = visit(trained)
    visitor.allow("404")
    page = visitor.open(path)
    expect(page.locator("#main")).to_contain_text(re.compile("no |nothing", re.IGNORECASE))
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Experiments").click()
    expect(page.get_by_role("grid", name="Experiments")).to_be_visible()


def test_a_folder_without_experiments_says_how_to_begin(tmp_path: Path, serve, visit) -> None:
    page = visit(serve(tmp_path / "empty")).open()
    expect(page.locator("#main")).to_contain_text("Experiment(")


def test_a_read_only_folder_offers_no_edits(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root, "--read-only")).open("/?selected=exp_001,exp_002")
    bar = page.get_by_role("toolbar", name="Selected experiments")
    expect(bar.get_by_role("button", name="Compare")).to_be_visible()
    expect(bar.get_by_role("button", name="Delete")).to_have_count(0)


def test_at_a_phones_width_nothing_is_cut_off(trained, visit) -> None:
    visitor = visit(trained, viewport={"width": 390, "height": 844}, has_touch=True)
    visitor.allow("422")
    for path, shown in PAGES.values():
        page = visitor.open(path)
        expect(page.locator("#main")).to_contain_text(re.compile(re.escape(shown), re.IGNORECASE))
        settled(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{path} is {wide} wide"
        page.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, trained, visit) -> None:
    path, shown = PAGES[name]
    visitor = visit(trained, bypass_csp=True)
    visitor.allow("422")
    page = visitor.open(path)
    expect(page.locator("#main")).to_contain_text(re.compile(re.escape(shown), re.IGNORECASE))
    settled(page)
    page.add_script_tag(path=PROJECT / "web" / "node_modules" / "axe-core" / "axe.min.js")
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for one in page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]:
            found.append(f"{scheme}: {one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}")
    assert found == []
