"""`jackline proxy`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from jackline.cli.app import app
from jackline.proxies import GENERATED, NOTES, Wish, about, render


def proxy(*args: str) -> Result:
    return CliRunner().invoke(app, ["proxy", *args])


@pytest.mark.parametrize("name", [*GENERATED, *NOTES])
def test_it_prints_the_text_and_nothing_else(name: str) -> None:
    done = proxy(name)
    assert (done.exit_code, done.stdout, done.stderr) == (0, render(name, Wish()), "")


def test_its_options_make_the_wish() -> None:
    done = proxy(
        "nginx",
        *("--upstream", "web:9123", "--listen", "0.0.0.0:8443", "--heartbeat", "2000"),
        *("--tls", "cert.pem", "key.pem"),
    )
    wish = Wish(upstream=("web", 9123), listen=("0.0.0.0", 8443), heartbeat=2000, tls=("cert.pem", "key.pem"))
    assert (done.exit_code, done.stdout) == (0, render("nginx", wish))


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("web", ("web", 8787)),
        ("web:80", ("web", 80)),
        ("[::1]", ("::1", 8787)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
    ],
)
def test_a_place_may_have_no_port_and_an_ipv6_address(given: str, place: tuple[str, int]) -> None:
    assert proxy("nginx", "--upstream", given).stdout == render("nginx", Wish(upstream=place))


def test_without_a_name_it_lists_all_with_a_line_each() -> None:
    done = proxy()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    for name in (*GENERATED, *NOTES):
        assert [line for line in lines if line.split()[:1] == [name] and about(name) in line]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nginxx"], "lighttpd"),
        (["nginx", "--listen", "::1"], "listen: "),
        (["nginx", "--upstream", "web:eighty"], "upstream: "),
        (["nginx", "--upstream", "web:99999"], "upstream"),
        (["nginx", "--upstream", "web:" + "8" * 5000], "upstream: "),
        (["nginx", "--listen", "[::1]:" + "8" * 5000], "listen: "),
        (["nginx", "--upstream", "[1:2]:80"], "upstream: "),
        (["envoy", "--listen", "front.example.com:8443"], "listen: "),
        (["nginx", "--heartbeat", "86401"], "heartbeat"),
        (["nginx", "--upstream", "http://web"], "upstream: "),
        (["nginx", "--heartbeat", "0"], "heartbeat"),
        (["nginx", "--tls", "cert.pem"], "--tls"),
        (["varnish", "--tls", "cert.pem", "key.pem"], "does not end TLS"),
    ],
)
def test_what_was_typed_wrong_is_told_on_stderr(args: list[str], told: str) -> None:
    """G11: exit code 2, nothing on stdout, which may go to a file."""
    done = proxy(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
