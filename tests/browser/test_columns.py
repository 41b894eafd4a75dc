"""Columns of the table by mouse: moved, made wider, and kept with the view."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from .test_table import count, grid


def head(page: Page, name: str) -> Locator:
    return page.get_by_role("columnheader").filter(has=page.get_by_title(name, exact=True))


def order(page: Page) -> list[str]:
    return page.get_by_role("columnheader").locator(".label").evaluate_all("(all) => all.map((one) => one.title)")


def box(cell: Locator) -> dict[str, float]:
    found = cell.bounding_box()
    assert found is not None
    return dict(found)


def carry(page: Page, name: str, to: str, share: float) -> None:
    """Drag a column to a share of the width of another one; it is not let go."""
    start, end = box(head(page, name)), box(head(page, to))
    from_x, to_x = start["x"] + start["width"] / 2, end["x"] + end["width"] * share
    y = start["y"] + start["height"] / 2
    page.mouse.move(from_x, y)
    page.mouse.down()
    for part in range(1, 9):
        page.mouse.move(from_x + (to_x - from_x) * part / 8, y)


def test_a_column_is_dropped_before_or_after_another(many, visit) -> None:
    page = visit(many).open()
    grid(page)
    assert order(page)[:5] == ["name", "status", "created_at", "duration_s", "tags"]
    carry(page, "tags", "created_at", 0.1)
    expect(head(page, "created_at")).to_have_class(re.compile(r"\bbefore\b"))
    page.mouse.up()
    expect(head(page, "created_at")).not_to_have_class(re.compile(r"\b(before|after)\b"))
    assert order(page)[:5] == ["name", "status", "tags", "created_at", "duration_s"]
    carry(page, "tags", "duration_s", 0.7)
    right = box(head(page, "duration_s"))
    page.mouse.move(right["x"] + right["width"] - 2, right["y"] + 10)  # onto another part of the same cell
    expect(head(page, "duration_s")).to_have_class(re.compile(r"\bafter\b"))
    page.mouse.up()
    assert order(page)[:5] == ["name", "status", "created_at", "duration_s", "tags"]
    expect(page).not_to_have_url(re.compile("sort="))  # it was no click
    carry(page, "tags", "name", 0.9)
    page.mouse.up()
    assert order(page)[:3] == ["name", "tags", "status"]
    expect(page).to_have_url(re.compile("columns=name%21%2Ctags%21%2Cstatus"))  # pinned, beside the name
    page.reload()
    grid(page)
    assert order(page)[:3] == ["name", "tags", "status"]


def test_a_drag_that_is_given_up_moves_nothing(many, visit) -> None:
    page = visit(many).open()
    grid(page)
    expect(head(page, "spark.loss")).to_be_visible()  # columns of metrics come when the server has told of them
    before = order(page)
    carry(page, "tags", "tags", 0.6)
    page.mouse.up()
    carry(page, "tags", "status", 0.5)
    page.mouse.move(600, 500)  # let go over the rows
    page.mouse.up()
    expect(page.locator(".before, .after")).to_have_count(0)
    assert order(page) == before


BEYOND = """(cells) => cells.flatMap((cell) => {
  const room = cell.getBoundingClientRect();
  return [...cell.querySelectorAll("*")].filter((one) => {
    let { left, right } = one.getBoundingClientRect();
    for (let clip = one.parentElement; clip !== cell.parentElement; clip = clip.parentElement) {
      if (getComputedStyle(clip).overflowX === "visible") continue;
      const { left: from, right: to } = clip.getBoundingClientRect();
      [left, right] = [Math.max(left, from), Math.min(right, to)];
    }
    return right > left && (left < room.left - 1 || right > room.right + 1);
  }).map((one) => one.outerHTML);
})"""
"""What of cells is seen outside of them."""


def test_nothing_reaches_out_of_the_narrowest_cell(many, visit) -> None:
    columns = "name status created_at duration_s tags notes metrics.loss spark.loss config.lr uid project"
    page = visit(many).open("/?columns=" + ",".join(f"{column}~48" for column in columns.split()))
    cells = page.get_by_role("gridcell")
    expect(cells.filter(has_text="default").first).to_be_visible()
    assert cells.count() > 100
    assert cells.evaluate_all(BEYOND) == []


def pull(page: Page, name: str, by: float) -> None:
    """Drag the right edge of a column."""
    edge = box(head(page, name))
    x, y = edge["x"] + edge["width"], edge["y"] + edge["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for part in range(1, 6):
        page.mouse.move(x + by * part / 5, y)
    page.mouse.up()


def test_an_edge_is_pulled_and_a_double_click_gives_the_width_back(many, visit) -> None:
    page = visit(many).open()
    grid(page)
    usual = box(head(page, "tags"))["width"]
    pull(page, "tags", 90)
    assert abs(box(head(page, "tags"))["width"] - usual - 90) < 2
    cell = page.locator("#line-0 [role=gridcell]").nth(5)
    assert abs(box(cell)["width"] - usual - 90) < 2  # the rows go with it
    expect(page).to_have_url(re.compile("tags%7E"))
    expect(page).not_to_have_url(re.compile("sort="))
    pull(page, "tags", -2000)
    assert 40 <= box(head(page, "tags"))["width"] <= 80
    pull(page, "name", 60)  # a pinned one pushes the others
    assert abs(box(head(page, "status"))["x"] - box(head(page, "name"))["x"] - box(head(page, "name"))["width"]) < 2
    edge = box(head(page, "tags"))
    page.mouse.dblclick(edge["x"] + edge["width"], edge["y"] + 10)
    expect(page).not_to_have_url(re.compile("tags%7E"))
    assert abs(box(head(page, "tags"))["width"] - usual) < 2


def test_views_of_long_names_stay_in_sight_and_can_be_forgotten(many, visit) -> None:
    page = visit(many).open("/?q=config.training.lr%20%3C%200.2")
    count(page, "of 1,000")
    page.get_by_role("button", name="Views").click()
    field = page.get_by_role("textbox", name="Name of the view")
    for number in range(20):
        field.fill(f"the view of number {number} with more words than there is room for")
        field.press("Enter")
    views = page.get_by_role("dialog", name="Views").or_(page.get_by_label("Views", exact=True)).last
    shown = box(views)
    for one in (field, views.get_by_role("button", name=re.compile("^Forget")).first):
        inside = box(one)
        assert inside["x"] >= shown["x"] and inside["x"] + inside["width"] <= shown["x"] + shown["width"]
        assert inside["y"] >= shown["y"] and inside["y"] + inside["height"] <= shown["y"] + shown["height"]
    expect(views.get_by_role("listitem").first.get_by_role("button").first).to_have_attribute("aria-current", "true")
    for _ in range(20):
        views.get_by_role("button", name=re.compile("^Forget")).first.click()
    expect(views.get_by_role("listitem")).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Views").click()
    expect(views).to_contain_text("Save filters")


def test_a_browser_that_keeps_nothing_says_so(many, visit) -> None:
    visitor = visit(many)
    visitor.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = visitor.open()
    grid(page)
    page.get_by_role("button", name="Views").click()
    page.get_by_role("textbox", name="Name of the view").fill("mine")
    page.keyboard.press("Enter")
    expect(page.locator(".toasts")).to_contain_text("This browser keeps no views")
