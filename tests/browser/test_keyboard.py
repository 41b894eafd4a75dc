"""Everything by keyboard: help, search, moving, selecting, opening, charts, comparison, the palette, back and forth."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .test_table import count, grid


def active(page: Page, place: int) -> None:
    expect(page.get_by_role("grid")).to_have_attribute("aria-activedescendant", f"line-{place}")


def test_help_lists_the_keys_and_escape_closes_it(trained, visit) -> None:
    page = visit(trained).open()
    grid(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Search and commands")
    expect(dialog).to_contain_text("Compare the selected")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_table_is_walked_marked_and_opened(trained, visit) -> None:
    page = visit(trained).open()
    grid(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    active(page, 2)
    page.keyboard.press("k")
    active(page, 1)
    page.keyboard.press("x")
    expect(page.locator("#line-1")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("j")
    page.keyboard.press("x")
    count(page, "2 selected")
    expect(page).to_have_url(re.compile("selected=exp_005%2Cexp_004"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("rings 4 at 0.05")
    page.keyboard.press("4")
    expect(page).to_have_url(re.compile("/experiments/exp_004/"))
    page.keyboard.press("g")
    page.keyboard.press("e")
    count(page, "2 selected")
    active(page, 2)
    page.keyboard.press("d")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 experiments")
    page.go_back()
    count(page, "2 selected")
    page.keyboard.press("Escape")
    count(page, "6 experiments")


def test_a_slash_writes_a_query_and_keys_in_it_are_text(trained, visit) -> None:
    visitor = visit(trained)
    visitor.allow("400")
    page = visitor.open()
    grid(page)
    page.keyboard.press("/")
    query = page.get_by_role("combobox", name="Query")
    expect(query).to_be_focused()
    page.keyboard.type("exjd?")
    expect(query).to_have_value("exjd?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    query.fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(query).not_to_be_focused()


def test_charts_open_beside_the_table_and_the_back_button_restores_the_view(trained, visit) -> None:
    page = visit(trained).open("/?sort=metrics.loss")
    grid(page)
    page.keyboard.press("x")
    page.keyboard.press("c")
    charts = page.get_by_role("complementary", name="Charts").or_(page.get_by_role("region", name="Charts"))
    expect(charts.get_by_role("article", name="loss", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("charts=1.*selected="))
    view = page.url
    page.locator("#line-1 a.name").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.go_back()
    expect(charts.get_by_role("article", name="loss", exact=True)).to_be_visible()
    assert page.url == view
    count(page, "1 selected")
    page.keyboard.press("c")
    expect(charts).to_have_count(0)


def test_the_palette_finds_experiments_and_pages(trained, visit) -> None:
    page = visit(trained).open()
    grid(page)
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search and commands")
    palette.get_by_role("combobox").fill("fail")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("rings that fail")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("rings that fail")
    page.keyboard.press("Control+k")
    palette.get_by_role("combobox").fill("alerts")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("alerts")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/alerts$"))
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(palette).to_have_count(0)


def test_the_focus_is_seen_wherever_tab_leads(trained, visit) -> None:
    page = visit(trained).open()
    grid(page)
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        name, shown = page.evaluate(
            """() => {
                const at = document.activeElement;
                const style = getComputedStyle(at);
                const ring = (one) => one && getComputedStyle(one).outlineStyle !== "none";
                const shown = ring(at) || style.boxShadow !== "none" || ring(at.parentElement) ||
                  (at.matches("input") && getComputedStyle(at.closest(".box") ?? at).borderColor !== style.borderColor);
                const name = at.getAttribute("aria-label") || at.textContent.trim().slice(0, 40) || at.tagName;
                return [name, Boolean(shown)];
            }"""
        )
        assert shown, f"the focus on {name} is not seen"
        seen.add(name)
    assert len(seen) > 8
