"""Whatever goes wrong is said in one line, which says what to do."""

from __future__ import annotations

import pytest

from tests.cli.terminal import jackline, terminal
from tests.cli.toy import CALL, CONVERSATION, RUN
from tests.client.server import Answer, Connection, Request, Server, problem, serving

pytestmark = pytest.mark.anyio

COMMANDS = (
    ("chat", "hello"),
    ("tail", RUN),
    ("tail", RUN, "--follow"),
    ("tail", RUN[:3]),
    ("tail", "-f"),
    ("runs",),
    ("runs", "--watch"),
    ("approve", CALL),
    ("deny", CALL, "--follow"),
    ("stop", RUN),
    ("stop", RUN, "--wait", "1"),
    ("open", RUN),
    ("open", CONVERSATION),
    ("export", RUN),
    ("delete", RUN, "--yes"),
)
ONE_RUN = tuple(each for each in COMMANDS if set(each) & {RUN, CALL, CONVERSATION})
DECISIONS = (("approve", CALL), ("approve", CALL, "--follow"), ("deny", CALL), ("deny", CALL, "--follow"))


async def html(request: Request, connection: Connection) -> None:
    await connection.raw(200, b"<html>it works</html>", Content_Type="text/html")


TROUBLES: dict[str, tuple[Answer, tuple[tuple[str, ...], ...], int, str]] = {
    "a wrong key": (problem(401, detail="no such key"), COMMANDS, 1, "JACKLINE_TOKEN"),
    "an unknown id": (problem(404, detail="no such run"), ONE_RUN, 1, "See: jackline runs"),
    "already decided": (
        problem(409, state="granted", by="user:bo", at="2026-11-22T12:00:00Z"),
        DECISIONS,
        1,
        "already granted by user:bo",
    ),
    "a busy conversation": (problem(409, run_id=RUN), (("chat", "x"),), 1, "--on-busy queue or stop"),
    "a run that has not ended": (
        problem(409, run_id=RUN),
        (("delete", RUN, "--yes"),),
        1,
        f"jackline stop {RUN} --wait 10",
    ),
    "a busy server": (problem(503, {"Retry-After": "3600"}), COMMANDS, 4, "is not reachable: it answers 503"),
    "something else": (html, COMMANDS, 4, "Is --url the address of a Jackline?"),
}


async def said(command: tuple[str, ...], code: int, words: str, url: str) -> None:
    done = await jackline(*command, JACKLINE_URL=url)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), (command, done)
    assert done.err.startswith("jackline: "), (command, done)
    assert words in done.err, (command, done)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_trouble_is_one_line(server: Server, trouble: str) -> None:
    """G11"""
    answer, commands, code, words = TROUBLES[trouble]
    server.answer(answer)
    for command in commands:
        await said(command, code, words, server.url)


async def test_nobody_there_is_one_line() -> None:
    """G11"""
    async with serving() as gone:
        url = gone.url
    for command in COMMANDS:
        await said(command, 4, "Is it running (jackline serve)", url)


@pytest.mark.parametrize(
    "url", ["nowhere", "ftp://x", "http://exa mple", "http://[::1", "http://a:99999", "http://☃☃"]
)
async def test_an_address_that_is_none_is_one_line(url: str) -> None:
    """G11"""
    await said(("runs",), 2, "is not an address like http://127.0.0.1:8787", url)


async def test_a_key_that_no_header_takes_is_one_line(server: Server) -> None:
    """G11: a key that was copied with its line's end, or with a typographer's dash."""
    for token in ("a\nb", "k\u2013y", "key "):
        done = await jackline("runs", JACKLINE_URL=server.url, JACKLINE_TOKEN=token)
        assert (done.code, done.err.count("\n")) == (2, 1), done
        assert "JACKLINE_TOKEN" in done.err
    assert server.requests == []


async def test_a_conversation_that_cannot_begin_is_one_line() -> None:
    """G11: at a terminal, too."""
    async with serving() as gone:
        url = gone.url
    async with terminal("chat", "--url", url, columns=200) as screen:
        assert await screen.end() == 4
    assert [line.partition(": ")[0] for line in screen.shown] == ["jackline"]
    assert "jackline serve" in screen.seen


async def test_a_run_that_ended_and_cannot_be_asked_for_is_one_line(server: Server) -> None:
    """G11: nothing after the cursor, and then the server refuses to say how it ended."""

    async def answer(request: Request, connection: Connection) -> None:
        if request.path.endswith("/events"):
            await connection.empty()
        else:
            await connection.json(404, {"title": "Not Found", "detail": "deleted"})

    server.answer(answer)
    await said(("tail", RUN, "--after", "3"), 1, "See: jackline runs", server.url)


async def test_a_time_outside_of_the_calendar_is_one_line(server: Server) -> None:
    """G11"""
    await said(("tail", RUN, "--since", "0001-01-01T00:00"), 2, "neither a span", server.url)


async def test_the_address_of_a_whole_id_needs_no_server() -> None:
    async with serving() as gone:
        url = gone.url
    for name, place in ((RUN, f"/#/runs/{RUN}"), (CALL, f"/#/runs/{RUN}")):
        done = await jackline("open", name, "--print", "--url", url)
        assert (done.code, done.out, done.err) == (0, f"{url}{place}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("chat", "-"),
        ("chat", "caf\udce9"),
        ("approve", "a.1.1", "--reason", "caf\udce9"),
        ("approve", "a.1.1", "--args", '{"a":"caf\udce9"}'),
        ("approve", "a.1.1", "--args", '{"a":"\\ud800"}'),
    ],
)
async def test_what_is_not_utf_8_is_said_to_be(server: Server, words: tuple[str, ...]) -> None:
    """No traceback, and nothing is sent."""
    done = await jackline(*words, "--url", server.url, stdin=b"caf\xe9\n", LC_ALL="C.UTF-8")
    assert done.code == 2
    assert "not UTF-8" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert server.requests == []


async def test_a_stop_is_waited_for_longer_than_one_request_may_take(server: Server) -> None:
    """G4: the server waits a minute at most."""

    async def answer(request: Request, connection: Connection) -> None:
        if len(server.requests) == 1:
            await connection.json(202, {"run_id": "conv0001.1", "state": "stopping"})
        else:
            await connection.json(200, {"run_id": "conv0001.1", "state": "stopped"})

    server.answer(answer)
    done = await jackline("stop", "conv0001.1", "--wait", "300", "--url", server.url)
    assert (done.code, "stopped" in done.out) == (0, True)
    assert [request.query["wait"] for request in server.requests] == ["60", "60"]
