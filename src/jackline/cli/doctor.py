"""`jackline doctor`: its options. What it does is in `diagnosis`, imported when it is run."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from jackline.cli.options import parse_address


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="The address that clients use."),
    ] = None,
    *,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="JACKLINE_TOKEN", help="Of --origin or --grant, or an API key."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="DIRECT_URL", help="The same server without the proxy.")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="Also find time limits: watch silent streams.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=1100, help="With --long: how long to watch.")
    ] = 150.0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Judge for a service that sends none of our headers.")
    ] = False,
    provoke: Annotated[
        bool, typer.Option("--provoke", help="Send one bad request, to tell the proxy by its answer.")
    ] = False,
    origin: Annotated[
        bool, typer.Option("--origin", help="Serve the probes alone, to be put behind a proxy.")
    ] = False,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="With --origin: where to listen.")
    ] = "127.0.0.1:8789",
    grant: Annotated[
        bool, typer.Option("--grant", help="Print a token for a server's probes, good for 15 minutes.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --grant: the settings' file.  [jackline.toml]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Find out what a proxy does to streams, and what to set. Exits with 0 (good), 10, 20 or 30."""
    from jackline.cli import diagnosis

    if sum((url is not None, origin, grant)) != 1:
        raise typer.BadParameter("give a URL, or one of --origin and --grant", param_hint="URL")
    if origin:
        host, port = parse_address("--listen", listen)
        raise typer.Exit(diagnosis.origin(host, port))
    if grant:
        raise typer.Exit(diagnosis.grant(config))
    assert url is not None
    horizon = seconds if long else 0.0
    raise typer.Exit(
        diagnosis.diagnose(
            diagnosis.Order(
                url=url,
                token=token,
                json=json,
                horizon_s=horizon,
                provoke=provoke,
                compare=compare,
                plain=plain,
            )
        )
    )
