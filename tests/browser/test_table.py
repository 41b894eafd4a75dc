"""The table of experiments: order, query, groups, columns, selection, edits with undo, links that show the same."""

from __future__ import annotations

import re
import time
from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

from frameworm.experiment import Experiment, ExperimentManager


def grid(page: Page) -> Locator:
    """The table, as soon as its first row is there."""
    table = page.get_by_role("grid", name="Experiments")
    expect(table.get_by_role("row").nth(1).get_by_role("link")).to_be_visible()
    return table


def names(page: Page) -> list[str]:
    """The names of the first ten rows, from the top."""
    lines = [page.locator(f"#line-{place} a.name") for place in range(10)]
    return [line.inner_text() for line in lines if line.count()]


def enter(query: Locator, text: str, after_ms: int) -> None:
    """Write a query, and press Enter so long after it by the page's own clock, however busy the machine is."""
    query.evaluate(
        """(field, [text, after]) => {
          field.focus();
          field.value = text;
          field.dispatchEvent(new InputEvent("input", { bubbles: true }));
          setTimeout(() => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true })), after);
        }""",
        [text, after_ms],
    )


def count(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_role("toolbar", name="Selected experiments")).to_contain_text(text)


def test_rows_beyond_the_screen_come_as_it_is_scrolled(many, visit) -> None:
    page = visit(many).open()
    table = grid(page)
    count(page, "1,000 experiments")
    expect(table).to_have_attribute("aria-rowcount", "1001")
    assert names(page)[0] == "run 1000"
    assert table.get_by_role("row").count() < 100
    page.wait_for_function(
        """(table) => table.querySelectorAll("[role=row]").length > table.clientHeight / 34 + 10""",
        arg=table.element_handle(),
    )  # some below those that are seen, once these are there
    table.evaluate("(table) => table.scrollTo(0, table.scrollHeight)")
    expect(page.locator("#line-999 a.name")).to_have_text("run 1")


def test_small_charts_are_asked_for_once_no_other_rows_are_awaited(many, visit) -> None:
    page = visit(many).open("/?columns=name,spark.loss")
    grid(page)
    page.wait_for_function(
        "() => performance.getEntriesByType('resource').some((one) => one.name.includes('sparklines'))"
    )
    held: list[Route] = []
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("?")[0].rpartition("/")[2]))
    page.route("**/api/v1/experiments?*", lambda route: held.append(route), times=1)
    page.evaluate(
        """() => {
          document.querySelector("[role=grid]").scrollTo(0, 3000); // others are seen, at the same moment
          const field = document.querySelector("[aria-label=Query]");
          field.value = "name == 'run 7'";
          field.dispatchEvent(new InputEvent("input", { bubbles: true }));
          field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        }"""
    )
    page.wait_for_timeout(500)
    assert "experiments" in asked and "sparklines" not in asked
    with page.expect_request("**/api/v1/sparklines?*"):
        held[0].continue_()


def test_the_table_needs_no_file_that_the_first_answer_does_not_name(many, visit) -> None:
    visitor = visit(many)
    page = visitor.open()
    grid(page)
    index = page.request.get(many.address).text()
    files = [url.removeprefix(many.address) for url in visitor.requests if "/assets/" in url]
    assert files and all(file in index for file in files)
    assert all(path.startswith("/assets/") for path in re.findall(r'(?:href|src)="([^"]*)"', index))  # kept for good
    page.get_by_title("metrics.loss", exact=True).wait_for()
    assert len([url for url in visitor.requests if "/api/v1/experiments?offset=" in url]) == 1  # and no page in vain


def test_another_order_is_asked_for_at_once(many, visit) -> None:
    page = visit(many).open()
    grid(page)
    head = page.get_by_title("metrics.loss", exact=True)
    asked = head.evaluate(
        """(head) => {
          const asked = [], fetched = window.fetch;
          window.fetch = (...given) => (asked.push(given[0]), fetched(...given));
          head.click();
          return asked;  // before the page is put up anew
        }"""
    )
    assert [url for url in asked if "/experiments?sort=metrics.loss&" in url] == asked != []


def test_a_query_that_is_entered_at_once_is_not_completed(many, visit) -> None:
    visitor = visit(many)
    page = visitor.open()
    grid(page)
    enter(page.get_by_role("combobox", name="Query"), "name == 'run 7'", after_ms=0)
    count(page, "1 experiment")
    page.wait_for_timeout(200)
    assert not [url for url in visitor.requests if "/complete" in url]


def test_columns_are_looked_for_once_the_rows_are_there(many, visit) -> None:
    visitor = visit(many)
    page = visitor.open("/alerts")
    expect(page.get_by_role("heading", name="Alerts", exact=True)).to_be_visible()
    held: list[Route] = []
    page.route("**/api/v1/experiments?*", lambda route: held.append(route), times=1)
    page.get_by_role("link", name="Experiments").click()
    expect(page.get_by_role("status", name="Loading the experiments")).to_be_visible()
    page.wait_for_timeout(300)  # for what must not come
    assert len(held) == 1 and not [url for url in visitor.requests if "/columns" in url]
    held[0].continue_()
    page.get_by_title("metrics.val_loss").wait_for()
    assert len([url for url in visitor.requests if "/columns" in url]) == 1


def test_all_else_is_asked_for_once_the_first_rows_are_there(many, visit) -> None:
    visitor = visit(many)
    held: list[Route] = []
    visitor.context.route("**/api/v1/experiments?*", lambda route: held.append(route), times=1)
    page = visitor.open()
    expect(page.get_by_role("status", name="Loading the experiments")).to_be_visible()
    page.wait_for_timeout(300)  # for what must not come
    assert len(held) == len([url for url in visitor.requests if "/api/" in url]) == 1
    held[0].continue_()
    grid(page)
    page.get_by_title("metrics.val_loss").wait_for()
    for path in ("/store", "/alerts?", "/events", "/columns"):
        assert len([url for url in visitor.requests if f"/api/v1{path}" in url]) == 1, path


def test_what_changed_while_the_first_rows_were_on_their_way_is_shown(own_root: Path, serve, visit) -> None:
    visitor = visit(serve(own_root))

    def later(route: Route) -> None:
        answer = route.fetch()
        with Experiment("late", {}, root_dir=own_root, capture_console=False, system_metrics_s=0):
            pass
        time.sleep(2)  # the page is told of it, and has no rows yet that it could look for it in
        route.fulfill(response=answer)

    visitor.context.route("**/api/v1/experiments?*", later, times=1)
    page = visitor.open()
    grid(page)
    count(page, "7 experiments")


def test_a_click_on_a_column_sorts_and_another_turns_it(many, visit) -> None:
    page = visit(many).open()
    head = grid(page).get_by_role("columnheader", name=re.compile("^val_loss"))
    head.get_by_role("button").first.click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page).to_have_url(re.compile(r"sort=metrics\.val_loss"))
    first = names(page)
    head.get_by_role("button").first.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#line-0 a.name")).not_to_have_text(first[0])


def test_a_query_narrows_and_one_that_is_wrong_shows_where(many, visit) -> None:
    visitor = visit(many)
    visitor.allow("400")
    page = visitor.open()
    grid(page)
    query = page.get_by_role("combobox", name="Query")
    query.fill("config.training.lr < 0.1 and 'mnist' in tags")
    count(page, "of 1,000")
    expect(page).to_have_url(re.compile("q=config.training.lr"))
    expect(page.get_by_role("grid")).to_have_attribute("aria-busy", "false")
    count(page, re.compile(r"^\d\d experiments"))
    shown = page.get_by_role("toolbar", name="Selected experiments").inner_text()
    query.fill("status == ")
    query.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(query).to_have_attribute("aria-invalid", "true")
    assert page.locator(".mirror .before").inner_text(timeout=5000).rstrip() == "status =="
    assert page.get_by_role("toolbar", name="Selected experiments").inner_text() == shown  # what fitted before stays
    page.get_by_role("button", name="Clear the query").click()
    count(page, "1,000 experiments")


def test_the_rows_of_a_query_come_while_it_is_checked_and_late_completions_stay_away(many, visit) -> None:
    visitor = visit(many)
    page = visitor.open()
    grid(page).get_by_title("metrics.val_loss").wait_for()
    held: dict[str, Route] = {}
    page.route("**/api/v1/check?*", lambda route: held.update(check=route))
    page.route("**/api/v1/complete?*", lambda route: held.update(complete=route))
    query = page.get_by_role("combobox", name="Query")
    with page.expect_response(re.compile("/experiments[?].*q=config.training.lr")):
        enter(query, "config.training.lr < 0.1", after_ms=100)
    assert "q=" not in page.url
    held["check"].continue_()
    count(page, "of 1,000")
    assert len([url for url in visitor.requests if "/experiments?" in url and "q=" in url and "offset=0" in url]) == 1
    held["complete"].continue_()
    page.wait_for_timeout(300)  # for what must not come
    expect(query).to_have_attribute("aria-expanded", "false")


def test_completions_name_what_there_is(many, visit) -> None:
    visitor = visit(many)
    visitor.allow("400")  # what is typed so far is no query yet
    page = visitor.open()
    grid(page)
    query = page.get_by_role("combobox", name="Query")
    query.press_sequentially("config.training.l")
    option = page.get_by_role("option").filter(has_text="config.training.lr")
    expect(option.first).to_be_visible()
    query.press("Tab")
    expect(query).to_have_value(re.compile(r"^config\.training\.lr\b"))


def test_groups_show_means_and_open(many, visit) -> None:
    page = visit(many).open("/?group=tags")
    count(page, "2 groups of")
    row = page.get_by_role("row").filter(has_text="mnist").first
    expect(row).to_contain_text("±")
    row.click()
    expect(row).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("row").filter(has_text="run ").first).to_be_visible()


def test_columns_are_chosen(many, visit) -> None:
    page = visit(many).open()
    head = grid(page).get_by_role("columnheader")
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("combobox", name="Search columns").fill("model.q7")
    page.get_by_role("option", name=re.compile("model.q7")).click()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"columns=.*model\.q7"))
    page.get_by_role("grid").evaluate("(table) => table.scrollTo(table.scrollWidth, 0)")
    expect(head.filter(has_text="model.q7")).to_be_visible()


def test_a_selection_lasts_through_a_sort_a_visit_elsewhere_and_a_reload(many, visit) -> None:
    visitor = visit(many)
    visitor.allow("503")  # they are in the catalog only: their own pages have nothing to show
    page = visitor.open()
    grid(page)
    for place in (0, 2):
        page.locator(f"#line-{place}").get_by_role("checkbox").click()
    count(page, "2 selected")
    expect(page).to_have_url(re.compile("selected=exp_1000%2Cexp_998"))
    page.get_by_role("columnheader", name=re.compile("^val_loss")).get_by_role("button").first.click()
    count(page, "2 selected")
    page.locator("#line-0 a.name").click()
    expect(page).to_have_url(re.compile("/experiments/exp_"))
    page.go_back()
    count(page, "2 selected")
    page.reload()
    count(page, "2 selected")


def test_a_selection_made_the_moment_before_the_table_is_left_lasts(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root)).open()
    grid(page)
    # In one go: a test's own clicks would leave the page the time to settle.
    page.evaluate(
        "document.querySelector('#line-2 [type=checkbox]').click(); document.querySelector('#line-0 a.name').click()"
    )
    expect(page).to_have_url(re.compile("/experiments/exp_006"))
    page.go_back()
    count(page, "1 selected")
    expect(page).to_have_url(re.compile("selected=exp_004"))


def test_a_link_shows_the_same_to_another_visitor(many, visit) -> None:
    page = visit(many).open()
    grid(page)
    page.get_by_role("combobox", name="Query").fill("config.training.lr < 0.2")
    count(page, "of 1,000")
    page.get_by_role("columnheader", name=re.compile("^val_loss")).get_by_role("button").first.click()
    expect(page).to_have_url(re.compile("sort="))
    expect(page.get_by_role("grid")).to_have_attribute("aria-busy", "false")
    shown = names(page)
    other = visit(many).open(page.url.removeprefix(many.address))
    count(other, "of 1,000")
    expect(other.locator("#line-0 a.name")).to_have_text(shown[0])
    assert names(other) == shown


def test_a_view_is_kept_by_name(many, visit) -> None:
    visitor = visit(many)
    page = visitor.open("/?q=config.training.lr%20%3C%200.2")
    count(page, "of 1,000")
    page.get_by_role("button", name="Views").click()
    field = page.get_by_role("textbox", name=re.compile("name", re.IGNORECASE))
    field.fill("small rates")
    field.press("Enter")
    again = visitor.open()
    count(again, "1,000 experiments")
    again.get_by_role("button", name="Views").click()
    again.get_by_text("small rates").click()
    expect(again).to_have_url(re.compile("q=config.training.lr"))


def test_tags_are_given_and_taken_back_in_the_folder(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root)).open("/?selected=exp_001,exp_002")
    bar = page.get_by_role("toolbar", name="Selected experiments")
    bar.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_label("Add a tag to 2 experiments").fill("chosen, good")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("button", name="Remove the tag chosen")).to_be_visible()
    manager = ExperimentManager(own_root)
    assert [manager.get_experiment(one)["tags"] for one in ("exp_001", "exp_002", "exp_003")] == [
        ["chosen", "good"],
        ["chosen", "good"],
        [],
    ]
    page.get_by_role("button", name="Remove the tag good").click()
    expect(page.get_by_role("button", name="Remove the tag good")).to_have_count(0)
    assert manager.get_experiment("exp_001")["tags"] == ["chosen"]


def test_what_is_deleted_comes_back_by_undo(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root)).open("/?selected=exp_001,exp_002")
    folders = {path.name for path in own_root.glob("exp_*")}
    page.get_by_role("toolbar", name="Selected experiments").get_by_role("button", name="Delete").click()
    count(page, "4 experiments")
    assert {path.name for path in own_root.glob("exp_*")} == {name for name in folders if name[:7] > "exp_002"}
    page.get_by_role("button", name="Undo").click()
    count(page, "6 experiments")
    assert {path.name for path in own_root.glob("exp_*")} == folders


def test_archived_ones_leave_the_list_and_come_back_by_undo(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root)).open("/?selected=exp_003")
    page.get_by_role("toolbar", name="Selected experiments").get_by_role("button", name="Archive").click()
    count(page, "5 experiments")
    assert ExperimentManager(own_root).get_experiment("exp_003")["tags"] == ["archived"]
    page.get_by_role("button", name="Undo").click()
    count(page, "6 experiments")
    assert ExperimentManager(own_root).get_experiment("exp_003")["tags"] == []


def test_name_tags_and_notes_of_one_are_edited_on_its_page(own_root: Path, serve, visit) -> None:
    page = visit(serve(own_root)).open("/experiments/exp_001")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("renamed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("renamed")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_role("textbox", name="New tag").fill("seen")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove tag seen")).to_be_visible()
    page.get_by_role("textbox", name="New note").fill("a *note*")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("article em")).to_have_text("note")
    found = ExperimentManager(own_root).get_experiment("exp_001")
    assert (found["name"], found["tags"], [note["text"] for note in found["notes"]]) == (
        "renamed",
        ["seen"],
        ["a *note*"],
    )


def test_the_description_is_edited_on_the_experiments_page(own_root: Path, serve, visit) -> None:
    visitor = visit(serve(own_root))
    page = visitor.open("/experiments/exp_001")
    section = page.get_by_role("region", name="Description")
    button, field = section.get_by_role("button", name="Edit description"), section.get_by_role("textbox")
    button.focus()
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.type("not kept")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(section).to_contain_text("No description.")
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    page.keyboard.type("for the *paper*")
    page.keyboard.press("Enter")
    page.keyboard.type("second line 5")
    page.keyboard.press("Control+Enter")
    expect(section.locator("em")).to_have_text("paper")
    expect(button).to_be_focused()
    description = "for the *paper*\nsecond line 5"
    assert ExperimentManager(own_root).get_experiment("exp_001")["description"] == description
    button.click()
    expect(field).to_have_value(description)
    field.fill("")
    section.get_by_role("button", name="Save").click()
    expect(section).to_contain_text("No description.")
    assert ExperimentManager(own_root).get_experiment("exp_001")["description"] == ""


def test_a_description_that_cannot_be_saved_stays_in_its_field(own_root: Path, serve, visit) -> None:
    visitor = visit(serve(own_root))
    visitor.allow("503")
    page = visitor.open("/experiments/exp_001")
    section = page.get_by_role("region", name="Description")
    section.get_by_role("button", name="Edit description").click()
    field = section.get_by_role("textbox")
    field.fill("what took an hour to write")
    body = '{"error": {"code": "store", "message": "the disk is full"}}'
    page.route("**/api/v1/experiments/edit", lambda route: route.fulfill(status=503, body=body))
    section.get_by_role("button", name="Save").click()
    expect(page.get_by_text("the disk is full")).to_be_visible()
    expect(field).to_have_value("what took an hour to write")
    page.unroute("**/api/v1/experiments/edit")
    section.get_by_role("button", name="Save").click()
    expect(section.get_by_role("paragraph")).to_have_text("what took an hour to write")


def test_a_read_only_folder_shows_the_description_with_no_button(own_root: Path, serve, visit) -> None:
    ExperimentManager(own_root).set_description("exp_001", "what it is for")
    page = visit(serve(own_root, "--read-only")).open("/experiments/exp_001")
    section = page.get_by_role("region", name="Description")
    expect(section.get_by_role("paragraph")).to_have_text("what it is for")
    expect(section.get_by_role("button")).to_have_count(0)
    page.goto(page.url.replace("exp_001", "exp_002"))
    expect(page.get_by_role("region", name="Notes")).to_be_visible()
    expect(section).to_have_count(0)
