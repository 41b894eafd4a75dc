"""Text of experiments is text: thirty ways to run a script, in every field there is, do nothing but stand there."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from frameworm.experiment import Experiment, ExperimentManager

from .conftest import Server, start
from .test_pages import settled
from .training import Plotly

RUN = "window.__xss=1"
PAYLOADS = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'"><img src=x onerror="{RUN}">',
    f"'><svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f'<svg><animate onbegin="{RUN}" attributeName=x dur=1s></svg>',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f"<details open ontoggle={RUN}>x</details>",
    f"<body onload={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}></audio>",
    f"<math><mtext><style><img src=x onerror={RUN}></style></mtext></math>",
    f"</title><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>",
    f"javascript:{RUN}",
    f"[link](javascript:{RUN})",
    f"[link](JaVaScRiPt&colon;{RUN})",
    f'![image](x"onerror="{RUN})',
    f"[link](data:text/html,<script>{RUN}</script>)",
    f'<a href="javascript:{RUN}" id=evil>link</a>',
    f"<form action=javascript:{RUN}><button>go</button></form>",
    "{@html '<img src=x onerror=" + RUN + ">'}",
    "{{constructor.constructor('" + RUN + "')()}}",
    "${" + RUN + "}",
    f"<style>@import 'javascript:{RUN}';</style><link rel=stylesheet href=\"javascript:{RUN}\">",
]


def test_there_are_thirty() -> None:
    assert len(set(PAYLOADS)) == 30


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Show three experiments of which each field that takes text holds the payloads."""
    folder = tmp_path_factory.mktemp("hostile")
    root = folder / "experiments"
    everything = "\n\n".join(PAYLOADS)
    for number in range(3):
        config = {f"{payload} {place}": f"{number} {payload}" for place, payload in enumerate(PAYLOADS)}
        with Experiment(
            name=f"{number} {PAYLOADS[number + 1]}",
            description=everything,
            tags=[payload.replace(",", ";") for payload in PAYLOADS],
            config={"nested": config, **config},
            project=PAYLOADS[2],
            root_dir=root,
            system_metrics_s=0,
        ) as exp:
            print(everything)
            print("\x1b]8;;javascript:" + RUN + "\x07link\x1b]8;;\x07 \x1b[31m" + PAYLOADS[0] + "\x1b[0m")
            for place, payload in enumerate(PAYLOADS):
                exp.log_metric(payload, float(place + number), step=1, metric_type=payload)
                exp.log_metric(payload, float(place + number), step=2)
                exp.alert(payload, everything)
            for suffix in ("svg", "html", "md", "csv", "json", "xml", "txt"):
                for place, payload in enumerate(PAYLOADS[:3]):
                    path = folder / f"{payload.replace('/', '∕')} {place}.{suffix}"
                    path.write_text(_file(suffix, everything))
                    exp.log_artifact(path)
            exp.log_text(PAYLOADS[0], everything, step=0)
            exp.log_table(PAYLOADS[1], [[payload, payload] for payload in PAYLOADS], columns=PAYLOADS[:2], step=0)
            exp.log_image(PAYLOADS[2], [[0, 255], [255, 0]], step=0, caption=PAYLOADS[1])
            trace = {"type": PAYLOADS[0], "name": PAYLOADS[1], "x": PAYLOADS, "y": PAYLOADS}
            colours = {
                "marker": {"color": "url(//elsewhere.test/a)"},
                "line": {"color": "red;background:url(//b.test)"},
            }
            layout = {
                "title": everything,
                "xaxis": {"title": {"text": everything}},
                "images": [{"source": "//c.test/d"}],
            }
            exp.log_figure(PAYLOADS[3], Plotly([trace, {**trace, **colours, "type": "bar"}], layout), step=0)
            exp.log_figure("figure", Plotly([{**trace, **colours, "type": "scatter"}], layout), step=0)
            exp.add_note(everything)
    with pytest.raises(ValueError), Experiment(name="fails", root_dir=root, system_metrics_s=0):
        raise ValueError(everything)
    ExperimentManager(root).add_tags("exp_004", PAYLOADS[0])
    server = start(root)
    yield server
    server.stop()


def _file(suffix: str, everything: str) -> str:
    if suffix == "svg":
        return f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
    if suffix == "csv":
        return "name,value\n" + "".join(f'"{payload.replace(chr(34), chr(34) * 2)}",1\n' for payload in PAYLOADS)
    if suffix == "html":
        return f"<!doctype html><title>x</title><script>{RUN}</script>{everything}"
    return everything


def inert(page: Page) -> None:
    settled(page)
    assert page.evaluate("window.__xss") is None
    assert page.locator("#main").locator("script, iframe, object, embed, form[action]").count() == 0
    assert page.locator("a[href^='javascript:' i], a[href^='data:' i]").count() == 0
    assert page.locator("#evil").count() == 0


IDS = "exp_001,exp_002,exp_003"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "onerror"),
        ("/?group=tags", "onerror"),
        (f"/?charts=1&selected={IDS}", "onerror"),
        ("/experiments/exp_001", "onerror"),
        ("/experiments/exp_001/charts", "onerror"),
        ("/experiments/exp_001/logs", "onerror"),
        ("/experiments/exp_001/artifacts", "onerror"),
        ("/experiments/exp_001/provenance", "Command"),
        ("/experiments/exp_001/media", "onerror"),
        ("/experiments/exp_001/lineage", "alone"),
        ("/experiments/exp_004", "onerror"),
        (f"/compare?ids={IDS}&tab=why", "onerror"),
        (f"/compare?ids={IDS}&tab=side", "onerror"),
        (f"/compare?ids={IDS}&tab=charts", "onerror"),
        (f"/compare?ids={IDS}&tab=scatter", "onerror"),
        (f"/compare?ids={IDS}&tab=parallel", "onerror"),
        ("/alerts", "onerror"),
        ("/?q=" + urllib.parse.quote(f"name == '{PAYLOADS[1]}'"), "No experiment fits"),
        ("/experiments/" + urllib.parse.quote(PAYLOADS[1], safe=""), "no experiment"),
        ("/?columns=" + urllib.parse.quote("name,config." + PAYLOADS[1]), "onerror"),
    ],
)
def test_pages_show_it_as_text(path: str, shown: str, hostile, visit) -> None:
    visitor = visit(hostile)
    visitor.allow("status of 4")
    page = visitor.open(path)
    expect(page.locator("#main")).to_contain_text(re.compile(shown, re.IGNORECASE))
    inert(page)


def test_previews_show_it_as_text(hostile, visit) -> None:
    page = visit(hostile).open("/experiments/exp_001/artifacts")
    entries = page.get_by_role("option")
    expect(entries).to_have_count(21)
    for place in range(0, 21, 3):
        entries.nth(place).click()
        expect(page.get_by_role("region", name="Preview")).to_contain_text(re.compile("onload|onerror"))
        inert(page)
        source = page.get_by_role("button", name="Source", exact=True)
        if source.count():
            source.click()
            inert(page)


def test_files_opened_by_their_address_run_nothing(hostile, visit) -> None:
    for suffix in ("svg", "html", "md", "xml"):
        visitor = visit(hostile, accept_downloads=True)
        page = visitor.open("/")
        name = urllib.parse.quote(f"{PAYLOADS[1].replace('/', '∕')} 1.{suffix}")
        with page.expect_download():  # never shown in the page's own origin
            page.evaluate(f"location.href = '/api/v1/experiments/exp_001/artifacts/content?name={name}'")
        assert page.evaluate("window.__xss") is None


def test_links_of_notes_go_nowhere_dangerous(hostile, visit) -> None:
    page = visit(hostile).open("/experiments/exp_001")
    expect(page.locator("article").first).to_be_visible()
    for href in page.locator("article a").evaluate_all("(links) => links.map((link) => link.href)"):
        assert href.startswith(("http://", "https://", "mailto:")), href
