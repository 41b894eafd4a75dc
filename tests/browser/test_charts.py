"""Charts: drawn for what is selected, refined by zoom, smoothed, read by keyboard, fetched only when in view."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from frameworm.experiment import Experiment


def chart(page: Page, name: str) -> Locator:
    """The chart of a metric, once its line is drawn."""
    found = page.get_by_role("article", name=name, exact=True)
    expect(found.locator("table tbody tr").first).to_be_attached()
    return found


def ends(found: Locator) -> list[list[str]]:
    """The last value of each line, from the table that stands for the chart."""
    return [
        row.split("\t")
        for row in found.locator("tbody tr").evaluate_all(
            "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join('\\t'))"
        )
    ]


def inked(found: Locator) -> int:
    """How many pixels of the chart's canvases are drawn upon."""
    return int(
        found.evaluate(
            """(card) => [...card.querySelectorAll("canvas")].reduce((sum, canvas) => {
                 const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                 let drawn = 0;
                 for (let i = 3; i < data.length; i += 4) if (data[i] > 0) drawn++;
                 return sum + drawn;
               }, 0)"""
        )
    )


@pytest.fixture(scope="package")
def long_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments of 50,000 points, one with a spike that lasts a single step, and 60 short metrics."""
    root = tmp_path_factory.mktemp("long") / "experiments"
    for seed in (0, 1):
        noise = np.random.default_rng(seed).normal(0, 0.05, 50_000)
        values = np.exp(-np.arange(50_000) / 10_000) + noise
        values[30_000] = 9.0
        with Experiment(name=f"long {seed}", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
            for step, value in enumerate(values.tolist()):
                exp.log_metric("loss", value, step=step)
            for step in range(3):
                exp.log_metrics({f"layers/norm_{number:02d}": step * number for number in range(60)}, step=step)
    return root


def test_the_selected_are_drawn(trained, visit) -> None:
    page = visit(trained).open("/?charts=1&selected=exp_001,exp_002")
    loss = chart(page, "loss")
    lines = ends(loss)
    assert {line[0].split()[0] for line in lines} == {"exp_001", "exp_002"}
    assert {line[1] for line in lines} == {"40"} and len(lines) == 4  # two of training, two of validation
    assert inked(loss) > 500
    page.get_by_role("row").filter(has_text="exp_003").get_by_role("checkbox").click()
    expect(loss.locator("tbody tr")).to_have_count(6)


def test_zoom_fetches_the_window_at_full_resolution(long_root: Path, serve, visit) -> None:
    visitor = visit(serve(long_root))
    page = visitor.open("/experiments/exp_001/charts")
    loss = chart(page, "loss")
    with page.expect_request(lambda request: "/points?" in request.url and "from=" in request.url) as fetched:
        drag(page, loss.locator("canvas").first, 0.55, 0.7)
    asked = parse_qs(urlsplit(fetched.value.url).query)
    window = int(asked["to"][0]) - int(asked["from"][0])
    assert 4_000 < window < 20_000 and asked["metric"] == ["loss"]
    expect(loss.get_by_role("button", name="Reset")).to_be_visible()
    loss.get_by_role("button", name="Reset").click()
    expect(loss.get_by_role("button", name="Reset")).to_have_count(0)


def drag(page, plot, start: float, stop: float) -> None:
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * start, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * stop, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()


def test_zoom_fetches_the_bands_of_groups_as_well(long_root: Path, serve, visit) -> None:
    page = visit(serve(long_root)).open("/compare?ids=exp_001,exp_002&tab=charts&chart.by=status")
    loss = chart(page, "loss")
    expect(loss.locator("tbody th")).to_contain_text(["status = completed (n = 2)"])
    before = loss.locator("canvas").first.screenshot()
    with page.expect_response(lambda answer: "/bands?" in answer.url and "from=" in answer.url) as fetched:
        drag(page, loss.locator("canvas").first, 0.55, 0.7)
    asked = parse_qs(urlsplit(fetched.value.url).query)
    assert 4_000 < int(asked["to"][0]) - int(asked["from"][0]) < 20_000
    assert loss.locator("canvas").first.screenshot() != before


def test_a_spike_of_one_step_is_drawn_and_told(long_root: Path, serve, visit) -> None:
    page = visit(serve(long_root)).open("/experiments/exp_001/charts")
    told = chart(page, "loss").locator("[aria-label*='values']").first
    expect(told).to_have_attribute("aria-label", re.compile(r"step 0 to 50,?000|step 0 to 49,?999|0 to"))
    highest = float(re.search(r"values \S+ to ([\d.]+)", told.get_attribute("aria-label") or "")[1].rstrip("."))
    assert highest >= 9.0


def test_charts_of_a_comparison_do_not_wait_for_it(trained, visit) -> None:
    visitor = visit(trained)
    page = visitor.open("/compare?ids=exp_001,exp_002&tab=charts")
    chart(page, "loss")
    compared = [url for url in visitor.requests if "/api/v1/compare?" in url]
    assert compared and all("only=experiments" in url for url in compared)
    page.get_by_role("tablist").get_by_text("Side by side").click()
    expect(page.get_by_role("region", name="Environment")).to_be_visible()


def test_smoothing_changes_the_line_and_fetches_nothing(trained, visit) -> None:
    visitor = visit(trained)
    page = visitor.open("/experiments/exp_003/charts")
    accuracy = chart(page, "quality/accuracy")
    raw = ends(accuracy)
    before = len([url for url in visitor.requests if "/points?" in url])
    page.get_by_role("slider", name="smoothing").fill("0.9")
    expect(page).to_have_url(re.compile("chart.smooth=ema"))
    assert ends(accuracy) != raw
    page.get_by_role("slider", name="smoothing").fill("0")
    expect(page).not_to_have_url(re.compile("chart.smooth"))
    assert ends(accuracy) == raw
    assert len([url for url in visitor.requests if "/points?" in url]) == before


def test_scales_and_axes_change(trained, visit) -> None:
    page = visit(trained).open("/experiments/exp_001/charts")
    loss = chart(page, "loss")
    page.get_by_role("checkbox", name="log", exact=True).check()
    expect(page).to_have_url(re.compile("chart.log=1"))
    with page.expect_response(lambda answer: "x=relative" in answer.url) as answer:
        page.get_by_role("combobox", name="x axis").select_option("relative")
    assert answer.value.ok
    expect(loss.locator("thead")).to_contain_text("time since start")


def test_charts_out_of_view_are_not_fetched(long_root: Path, serve, visit) -> None:
    visitor = visit(serve(long_root))
    page = visitor.open("/experiments/exp_001/charts")
    chart(page, "layers/norm_00")
    asked = {name for url in visitor.requests if "/points?" in url for name in parse_qs(urlsplit(url).query)["metric"]}
    assert len([url for url in visitor.requests if "/points?" in url]) < len(asked) / 4  # several a request
    assert "layers/norm_00" in asked and "layers/norm_59" not in asked
    page.get_by_role("article", name="layers/norm_59", exact=True).scroll_into_view_if_needed()
    chart(page, "layers/norm_59")


def test_a_metric_is_searched_by_name(long_root: Path, serve, visit) -> None:
    page = visit(serve(long_root)).open("/experiments/exp_001/charts")
    chart(page, "loss")
    page.keyboard.press("m")
    page.keyboard.type("norm_37")
    chart(page, "layers/norm_37")
    expect(page.get_by_role("article")).to_have_count(1)


def test_groups_are_drawn_with_bands(trained, visit) -> None:
    page = visit(trained).open("/?charts=1&selected=exp_001,exp_002,exp_003,exp_004")
    loss = chart(page, "loss")
    page.get_by_role("combobox", name="group by").focus()
    with page.expect_response(lambda answer: "/bands?" in answer.url) as answer:
        page.get_by_role("combobox", name="group by").select_option("config.model.hidden")
    assert answer.value.ok
    expect(loss.locator("tbody tr")).to_have_count(2)


def test_a_chart_is_read_and_zoomed_by_keyboard_and_shown_large(trained, visit) -> None:
    page = visit(trained).open("/experiments/exp_001/charts")
    loss = chart(page, "loss")
    loss.locator("[tabindex='0']").first.focus()
    page.keyboard.press("ArrowRight")
    legend = page.locator(".legend")
    expect(legend).to_be_visible()
    page.keyboard.press("+")
    expect(loss.get_by_role("button", name="Reset")).to_be_visible()
    page.keyboard.press("0")
    page.keyboard.press("f")
    large = page.get_by_role("dialog", name="loss")
    expect(large.locator("canvas").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(large).to_have_count(0)


@pytest.mark.parametrize(("kind", "start"), [("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("points as CSV", b"")])
def test_a_chart_is_saved(kind: str, start: bytes, trained, visit, tmp_path: Path) -> None:
    page = visit(trained, accept_downloads=True).open("/experiments/exp_001/charts")
    loss = chart(page, "loss")
    loss.hover()
    loss.get_by_role("button", name="More for loss").click()
    with page.expect_download() as saved:
        page.get_by_role("menuitem", name=re.compile(f"^Save (as )?{kind}")).click()
    saved.value.save_as(tmp_path / "saved")
    content = (tmp_path / "saved").read_bytes()
    assert content.startswith(start) and len(content) > 300
