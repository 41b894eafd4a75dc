"""``frameworm ui``: the dashboard, in the browser."""

from __future__ import annotations

import click

from frameworm.experiment.cli.program import complain, root_dir_option, root_folder


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 for any.  [default: 6780, or the next free one]")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.option("--read-only", is_flag=True, help="Let nobody edit or delete from the page.")
@root_dir_option()
def ui(host: str, port: int | None, no_browser: bool, read_only: bool) -> None:
    """Show the experiments in the browser, live, until Ctrl-C.

    Example: frameworm ui --root-dir experiments
    """
    from frameworm.experiment.server.run import serve

    root = root_folder().absolute()

    def ready(address: str) -> None:
        click.echo(f"{root} is shown at {address} (Ctrl-C ends it)")
        if host not in ("127.0.0.1", "localhost", "::1"):
            complain("warning", f"whoever can reach {host} can see all of it" + ("" if read_only else ", and edit it"))

    serve(root, host, port, read_only=read_only or None, ready=ready, browse=not no_browser)
