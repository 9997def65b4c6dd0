"""`jackline proxy NAME`: the configuration of a proxy, on stdout."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final

import typer

from jackline.errors import ConfigError

_PLACE: Final = re.compile(
    r"\[(?P<six>[^\]]*)\](?::(?P<sixth>[0-9]{1,5}))?|(?P<host>[^:]*)(?::(?P<port>[0-9]{1,5}))?"
)


def proxy(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which one; all are listed without.")
    ] = None,
    *,
    upstream: Annotated[str, typer.Option(metavar="HOST:PORT", help="A web process.")] = "127.0.0.1:8787",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the proxy listens.")
    ] = "127.0.0.1:8080",
    heartbeat: Annotated[
        float, typer.Option(metavar="SECONDS", help="The server's setting, which limits must bear.")
    ] = 15.0,
    tls: Annotated[
        tuple[str, str] | None, typer.Option(metavar="CERT KEY", help="The proxy ends TLS with these files.")
    ] = None,
) -> None:
    """Print a proxy's configuration through which streams work, with what each line is for."""
    if name is None:
        _list()
        return
    from jackline.proxies import Wish, render

    try:
        wish = Wish(
            upstream=_place("upstream", upstream, 8787),
            listen=_place("listen", listen, 8080),
            heartbeat=heartbeat,
            tls=tls,
        )
        text = render(name, wish)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    sys.stdout.write(text)


def _place(what: str, text: str, port: int) -> tuple[str, int]:
    """What `HOST:PORT` says; the port may be missing. An IPv6 address stands in brackets."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ConfigError(f"{what}: {text!r} is not HOST:PORT")
    digits = found["port"] or found["sixth"]
    return found["six"] or found["host"] or "", int(digits) if digits else port


def _list() -> None:
    from jackline.proxies import GENERATED, NOTES, about

    for title, names in (
        ("Configurations, whole:", GENERATED),
        ("Notes on what to set, from the vendors' documentation:", NOTES),
    ):
        print(title)
        for name in names:
            print(f"  {name:<22}{about(name)}")
        print()
    print("jackline proxy NAME prints one.")
