"""``frameworm ui``: the dashboard, in the browser."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from frameworm.experiment.cli.program import complain, root_dir_option, root_folder
from frameworm.experiment.cli.text import inert
from frameworm.experiment.errors import ConfigError
from frameworm.experiment.storage.folder import RULES_NAME


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 for any.  [default: 6780, or the next free one]")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.option("--read-only", is_flag=True, help="Let nobody edit or delete from the page.")
@click.option("--trust-alerts", is_flag=True, help="Send alerts on as this folder's alerts.yaml says, from now on.")
@click.option("--no-token", is_flag=True, help="Let in whoever can reach the port: for a machine that is yours alone.")
@root_dir_option()
def ui(host: str, port: int | None, no_browser: bool, read_only: bool, trust_alerts: bool, no_token: bool) -> None:
    """Show the experiments in the browser, live, until Ctrl-C.

    Who opens the printed link is let in; it works once. Programs send the token in the file that is named with it.

    Example: frameworm ui --root-dir experiments
    """
    from frameworm.experiment.server.access import Access
    from frameworm.experiment.server.run import serve

    root = root_folder().absolute()
    if not read_only:
        _ask_about_sending(root, trust_alerts)
    access = None if no_token else Access.to(root)
    abroad = host not in ("127.0.0.1", "localhost", "::1")

    def ready(address: str) -> None:
        click.echo(f"{root} is shown at {address} (Ctrl-C ends it)")
        if access is None:
            reach = f"can reach {host}" if abroad else "is on this machine, its other users among them,"
            complain("danger", f"whoever {reach} can see all of it" + ("" if read_only else ", and edit it"))
            return
        if access.file is None:
            complain("warning", "no token can be kept for programs, nor for the next start: see XDG_STATE_HOME")
        else:
            click.echo(f"programs are let in by the token in {access.file}")
        if abroad:
            complain("warning", f"nothing is encrypted on the way to {host}; prefer a tunnel: ssh -L")

    serve(root, host, port, read_only=read_only or None, access=access, ready=ready, browse=not no_browser)


def _ask_about_sending(root: Path, trust: bool) -> None:
    """Ask whether alerts are sent on as ``alerts.yaml`` says, unless that was answered before."""
    if not (root / RULES_NAME).exists():
        if trust:
            complain("warning", f"there is no {RULES_NAME} in {root} that could be trusted")
        return
    from frameworm.experiment.query.rules import read_rules
    from frameworm.experiment.server.trust import Word, keep_word, word_on
    from frameworm.experiment.server.webhook import inside_addresses

    try:
        rules = read_rules(root)
    except ConfigError:
        return  # what is wrong with it is shown on the page, as long as it is
    if not (rules.webhook or rules.command) or (not trust and word_on(root, rules) is not None):
        return
    inside = inside_addresses(rules.webhook) if rules.webhook else []
    click.echo(f"{inert(str(root / RULES_NAME))} asks this machine, at each alert,")
    if rules.command:
        click.echo(f"  to run      {inert(shlex.join(rules.command))}")
    if rules.webhook:
        where = f"   ({', '.join(inside)}: not of the open internet)" if inside else ""
        click.echo(f"  to post to  {inert(rules.webhook)}{where}")
    if not trust and not sys.stdin.isatty():
        complain("warning", "nothing of it is done; --trust-alerts allows it")
        return
    allowed = trust or click.confirm("Do that, now and whenever this folder is shown?", default=False)
    keep_word(root, rules, Word(allowed, allowed and bool(inside)))
