"""What the doctor says of an address or a token that it cannot use."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from jackline.cli.diagnosis import Order, diagnose, explain
from jackline.client.errors import Unreachable
from jackline.doctor.wire import Call, Endpoint, Untrusted
from tests.support.certificate import certify
from tests.support.processes import HOST, free_port


def order(url: str, token: str | None = None) -> Order:
    return Order(url=url, token=token, json=False, horizon_s=0.0, provoke=False, compare=None, plain=False)


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("http://127.0.0.1:0", None, "port 0"),
        ("http://ana:secret@127.0.0.1:1", None, "--token"),
        ("http://127.0.0.1:1/?a=secret", None, "query"),
        ("http://127.0.0.1:1/#secret", None, "fragment"),
        ("http://127.0.0.1:1/ä", None, "ASCII"),
        ("http://127.0.0.1:1/a b", None, "ASCII"),
        ("ftp://127.0.0.1", None, "not an address"),
        ("http://127.0.0.1:99999", None, "Port"),
        ("http://127.0.0.1:1", "secret€", "token"),
        ("http://127.0.0.1:1", "secret\r\nX: y", "token"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_a_line(
    url: str, token: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diagnose(order(url, token)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert "secret" not in err


def test_an_address_where_nobody_is_is_told_in_the_doctors_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(order(f"http://{HOST}:{free_port()}")) == 4
    err = capsys.readouterr().err
    assert "is URL right?" in err
    assert "--url" not in err


@pytest.mark.anyio
async def test_a_certificate_that_nobody_knows_comes_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = certify(tmp_path / "both.pem")
    context.load_cert_chain(certificate)

    async def answer(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await source.readuntil(b"\r\n\r\n")
        sink.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        sink.close()

    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    async with server:
        url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Untrusted) as caught:
            await Endpoint(url).request(Call(method="GET", target="/"), seconds=30)
        text, code = explain(caught.value)
        assert code == 4
        assert "SSL_CERT_FILE" in text
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusting = await Endpoint(url).request(Call(method="GET", target="/"), seconds=30)
        assert trusting.reader.status == 204
    assert isinstance(caught.value, Unreachable)
