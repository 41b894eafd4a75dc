"""Figures of plotly are drawn from their data, in the page's own strokes; what cannot be drawn is there to download."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from frameworm.experiment import Experiment

from .training import Plotly


def card(page: Page, name: str) -> Locator:
    found = page.get_by_role("article", name=f"{name} train")
    found.scroll_into_view_if_needed()
    return found


def test_common_traces_are_drawn(trained, visit) -> None:
    page = visit(trained).open("/experiments/exp_001/media")
    growth = card(page, "eval/growth")
    expect(growth.get_by_role("img", name="It grows, grows")).to_be_visible()
    expect(growth.locator("path.line")).to_have_count(1)
    dots = growth.locator("path.dots").get_attribute("d") or ""
    heights = [float(dot.split()[1].removesuffix("h0")) for dot in dots.split("M")[1:]]
    assert abs((heights[0] - heights[1]) - (heights[1] - heights[2])) < 0.5  # decades are equal on a log scale
    expect(card(page, "eval/rings").locator("path.bars")).to_have_count(2)
    expect(card(page, "eval/rings").locator("text", has_text="inner")).to_be_visible()
    expect(card(page, "eval/spread").locator("path.bars")).to_have_count(1)
    cells = card(page, "eval/confusion").locator("canvas")
    expect(cells).to_be_visible()
    inks = cells.evaluate(
        """(canvas) => {
            const context = canvas.getContext("2d");
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            const at = (x, y) => {
              const start = 4 * (Math.floor(canvas.height * y) * canvas.width + Math.floor(canvas.width * x));
              return data.slice(start, start + 4).join();
            };
            return [at(0.45, 0.25), at(0.75, 0.25), at(0.45, 0.65), at(0.75, 0.65)];
        }"""
    )
    assert len(set(inks)) == 4 and not any(ink.endswith(",0") for ink in inks)


def test_what_is_not_drawn_is_told_and_downloaded(trained, visit) -> None:
    page = visit(trained, accept_downloads=True).open("/experiments/exp_001/media")
    expect(card(page, "eval/flow")).to_contain_text("1 more (sankey) cannot be shown here")
    shares = card(page, "eval/shares")
    expect(shares).to_contain_text("Figures of this kind are not shown here.")
    with page.expect_download() as download:
        shares.get_by_role("link", name="Download").click()
    assert '"pie"' in Path(download.value.path()).read_text()


def test_a_figure_of_many_megabytes_is_not_fetched(tmp_path: Path, serve, visit) -> None:
    with Experiment(name="large", root_dir=tmp_path / "own", capture_console=False, system_metrics_s=0) as exp:
        exp.log_figure("large", Plotly([{"y": [0] * 3_000_000}], {}), step=0)
    visitor = visit(serve(tmp_path / "own"))
    page = visitor.open("/experiments/exp_001/media")
    expect(card(page, "large")).to_contain_text("This figure is too large to be shown here.")
    assert not any("/files/" in one for one in visitor.requests)


def test_a_section_is_folded_and_opened_again(trained, visit) -> None:
    page = visit(trained).open("/experiments/exp_001/media")
    section = page.get_by_role("region", name="eval", exact=True)
    title = section.get_by_role("button", name="eval")
    expect(section.get_by_role("article")).to_have_count(6)
    title.click()
    expect(title).to_have_attribute("aria-expanded", "false")
    expect(section.get_by_role("article")).to_have_count(0)
    title.press("Enter")
    expect(section.get_by_role("article")).to_have_count(6)
