"""Who opens the printed link is let in, in this browser; who does not is told what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from .conftest import Server, Visit


def test_a_link_opens_the_page_and_is_gone_from_the_address(
    browser: Browser, own_root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    server = serve(own_root)
    visitor = visit(server, authenticated=False)
    visitor.allow("401")
    page = visitor.open("/compare?ids=exp_001,exp_002")
    expect(page.get_by_role("heading")).to_have_text("Open the link that was printed")
    assert page.evaluate("getComputedStyle(document.body).maxWidth") == "576px"  # its style is let in by the policy
    page.goto(f"{server.link}&q=config.lr+<+1")
    expect(page.locator("#line-0 a.name")).to_be_visible()
    assert page.url.startswith(server.address) and "token" not in page.url
    assert page.evaluate("[document.cookie, document.referrer, history.length]")[:2] == ["", ""]
    page.reload()
    expect(page.locator("#line-0 a.name")).to_be_visible()
    second = visitor.open("/experiments/exp_002")  # another tab
    expect(second.locator("#main")).to_contain_text("own 2")
    stranger = visit(server, authenticated=False)
    stranger.allow("401")
    expect(stranger.open("/").get_by_role("heading")).to_have_text("Open the link that was printed")


def test_an_open_page_that_is_no_longer_let_in_says_so(
    own_root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    server = serve(own_root)
    visitor = visit(server)
    visitor.allow("401|ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE|Failed to load")
    page = visitor.open("/")
    expect(page.locator("#line-0 a.name")).to_be_visible()
    server.stop()
    server.key_file.unlink()  # all browsers are to open a new link
    serve(own_root, "--port", server.address.rsplit(":", 1)[1])
    told = page.get_by_role("alert").filter(has_text="open the link that frameworm ui prints")
    expect(told).to_be_visible()
    visitor.context.add_cookies([server.cookie()])  # as the link does
    expect(told).to_have_count(0)
    expect(page.locator("#line-0 a.name")).to_be_visible()
