"""The probes: what they tell, who may use them, and that they cannot be used to harm (G12)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from jackline.web.headers import stream_headers
from jackline.web.probe.grants import MAX_SECONDS, Grants
from jackline.web.probe.ledger import BYTES, KEPT_SECONDS, STREAMS, STREAMS_OF_ONE, Ledger
from jackline.web.probe.probes import Probes
from jackline.web.problems import Problem
from tests.support.processes import eventually_async
from tests.web.harness import ANA, API, BOB, KEYS, Answer, Client, data_of, running

pytestmark = pytest.mark.anyio

PROBE = "/api/v1/probe"
SECRET = "s" * 32
ALL = (
    ("GET", f"{PROBE}/echo"),
    ("POST", f"{PROBE}/echo"),
    ("GET", f"{PROBE}/stream?id=one-name&plan=0:1"),
    ("POST", f"{PROBE}/stream?id=one-name&plan=0:1"),
    ("GET", f"{PROBE}/count/one-name"),
    ("POST", f"{PROBE}/count/one-name"),
    ("GET", f"{PROBE}/report/one-name"),
)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def report(client: Client, name: str, **headers: str) -> Any:
    return (await client.get(f"{PROBE}/report/{name}", **headers)).json()


# -- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ALL)
async def test_they_are_off_unless_switched_on(method: str, path: str) -> None:
    """G12: and the refusal says how to switch them on."""
    async with running() as setup:
        refused = (await setup.client.call(method, path)).problem(404)
        assert "probes" in refused["detail"]
    async with running(probes=True) as setup:
        assert (await setup.client.call(method, path)).status == 200
    async with running(keys=KEYS, probes=True) as setup:
        (await setup.client.call(method, path)).problem(401)
        assert (await setup.client.call(method, path, headers=bearer(ANA))).status == 200


async def test_a_grant_opens_them_and_nothing_else() -> None:
    """G12."""
    token = Grants(SECRET).make(60)
    async with running(keys=KEYS, probe_secret=SECRET) as setup:
        for headers in ({"x-probe-token": token}, bearer(token)):
            for method, path in ALL:
                assert (await setup.client.call(method, path, headers=headers)).status == 200
            for path in (f"{API}/runs", "/api/v1/probes", "/api/v1/probe"):
                (await setup.client.call("GET", path, headers=headers)).problem(401)
        (await setup.client.get(f"{PROBE}/echo", **bearer(ANA))).problem(404)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "jlp1.x",
        Grants(SECRET).make(60)[:-1] + "x",
        Grants("t" * 32).make(60),
        Grants(SECRET, now=lambda: 0).make(60),
        Grants(SECRET, now=lambda: 9e9).make(60),
        Grants(SECRET).make(60).replace("jlp1.1", "jlp1.2", 1),
    ],
    ids=["none", "malformed", "signature", "secret", "expired", "far", "expiry"],
)
async def test_a_bad_grant_opens_nothing(token: str) -> None:
    """G12: cut, signed by somebody else, expired, good for too long, with its expiry changed."""
    async with running(keys=KEYS, probe_secret=SECRET) as setup:
        (await setup.client.call("GET", f"{PROBE}/echo", headers={"x-probe-token": token})).problem(401)
        (await setup.client.call("GET", f"{PROBE}/echo", headers=bearer(token))).problem(401)


def test_without_a_secret_there_are_no_grants() -> None:
    token = Grants(SECRET).make(60)
    assert Grants(SECRET).holder(token)
    assert Grants(None).holder(token) is None
    for seconds in (0, -1, MAX_SECONDS + 1):
        with pytest.raises(ValueError, match="good for"):
            Grants(SECRET).make(seconds)
    with pytest.raises(ValueError, match="no secret"):
        Grants(None).make(60)


# -- what they tell --------------------------------------------------------------------------------


async def test_an_echo_is_the_request_as_it_arrived() -> None:
    async with running(probes=True) as setup:
        answer = await setup.client.call(
            "POST",
            f"{PROBE}/echo?a=%20&a=b+c&&d=",
            body=b"body",
            headers={"Last-Event-ID": "12.1", "X-Own": "own"},
        )
    mirror = answer.json()
    assert mirror["target"] == f"{PROBE}/echo?a=%20&a=b+c&&d="
    assert (mirror["method"], mirror["http"], mirror["peer"]) == ("POST", "1.1", "127.0.0.1")
    assert (mirror["body_bytes"], mirror["body_sha256"]) == (4, hashlib.sha256(b"body").hexdigest())
    headers = {header["name"]: header for header in mirror["headers"]}
    assert headers["last-event-id"]["value"] == "12.1"
    assert headers["x-own"] == {"name": "x-own", "sha256": hashlib.sha256(b"own").hexdigest()[:16]}


async def test_no_echo_can_be_taken_for_a_page_or_tells_a_secret() -> None:
    """G12: what a browser would send by itself, and scripts may not read, is not in the answer."""
    page = "<script>alert(1)</script>"
    secrets = {"cookie": "session=abcdef", "authorization": "Basic YWJjZGVm", "x-api-key": "abcdef"}
    async with running(probes=True) as setup:
        headers = {**secrets, "user-agent": page, "x-forwarded-for": page}
        answer = await setup.client.call("GET", f"{PROBE}/echo?{page}", headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not [value for value in secrets.values() if value.encode() in answer.body]


async def test_a_stream_comes_as_planned_with_the_headers_of_any_other() -> None:
    """G9: each event leaves when it is due, and the last frame says that it is the last one."""
    path = f"{PROBE}/stream?id=one-name&plan=0:5,30:600,500:0&beat=200&delay=20"
    async with running(probes=True) as setup:
        answer = await setup.client.get(path, x_probe_nonce="nonce-of-ana")
        run = await setup.client.get(f"{API}/runs/{await setup.whole_run()}/events")
        seen = await report(setup.client, "one-name")
    same = ("content-type", "cache-control", "x-accel-buffering", "x-content-type-options")
    assert [answer.headers[name] for name in same] == [run.headers[name] for name in same]
    events = answer.events()
    assert [event.event for event in events] == ["probe", "probe", "heartbeat", "heartbeat", "probe", "end"]
    probes = [data_of(event) for event in events if event.event == "probe"]
    assert [(probe["n"], len(probe["pad"])) for probe in probes] == [(0, 5), (1, 600), (2, 0)]
    assert {probe["nonce"] for probe in probes} == {"nonce-of-ana"}
    assert all(probe["at"] >= due for probe, due in zip(probes, (20, 50, 520), strict=True))
    assert seen["executions"] == 1
    assert (seen["seen"][0]["ended"], seen["seen"][0]["sent"]) == ("done", 3)


def test_protections_can_be_taken_off_one_by_one() -> None:
    whole = dict(stream_headers(identity=True))
    assert whole[b"content-encoding"] == b"identity"
    assert whole[b"cache-control"] == b"no-store, no-cache, no-transform"
    assert dict(stream_headers(identity=False, without=["no-store"]))[b"cache-control"] == b"no-transform"
    assert b"x-accel-buffering" not in dict(stream_headers(identity=False, without=["x-accel-buffering"]))
    bare = stream_headers(identity=False, without=["no-store", "no-transform", "x-accel-buffering"])
    assert [name for name, _ in bare] == [b"content-type"]


async def test_without_its_last_frame_a_stream_ends_silently() -> None:
    async with running(probes=True) as setup:
        answer = await setup.client.get(f"{PROBE}/stream?id=one-name&plan=0:0&ending=silent")
    assert [event.event for event in answer.events()] == ["probe"]


async def test_executions_are_counted() -> None:
    async with running(probes=True) as setup:
        for mode, status in (("ok", 200), ("503", 503), ("slow&delay=10", 200)):
            for method in ("GET", "POST"):
                path = f"{PROBE}/count/one-name?mode={mode}"
                assert (await setup.client.call(method, path)).status == status
        seen = await report(setup.client, "one-name")
        none = await report(setup.client, "another-name")
    assert seen["executions"] == 6
    assert [one["method"] for one in seen["seen"]] == ["GET", "POST"] * 3
    assert (none["executions"], none["seen"]) == (0, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("plan=0:1", "id"),
        ("id=short&plan=0:1", "id"),
        ("id=one%0Aname&plan=0:1", "id"),
        ("id=one-name", "plan"),
        ("id=one-name&plan=", "plan"),
        ("id=one-name&plan=0:1,", "plan"),
        ("id=one-name&plan=5:1,4:1", "plan"),
        ("id=one-name&plan=0:8193", "plan"),
        ("id=one-name&plan=" + ",".join(["0:8192"] * 17), "plan"),
        ("id=one-name&plan=" + ",".join(["0:0"] * 101), "plan"),
        ("id=one-name&plan=1200001:0", "plan"),
        ("id=one-name&plan=1200000:0&delay=1", "plan"),
        ("id=one-name&plan=0:0&delay=1200001", "delay"),
        ("id=one-name&plan=0:0&beat=1", "beat"),
        ("id=one-name&plan=0:0&ending=page", "ending"),
        ("id=one-name&plan=0:0&without=content-type", "without"),
    ],
)
async def test_a_plan_has_bounds(query: str, field: str) -> None:
    """G11: bytes, events, seconds, heartbeats; nothing is begun."""
    async with running(probes=True) as setup:
        assert field in (await setup.client.get(f"{PROBE}/stream?{query}")).fields(422)
        assert setup.site.probes.ledger.size == 0


@pytest.mark.parametrize("nonce", ["short", "a" * 65, "<script>", "with space in it"])
async def test_a_nonce_holds_nothing_but_a_name(nonce: str) -> None:
    """It goes back to its sender."""
    async with running(probes=True) as setup:
        path = f"{PROBE}/stream?id=one-name&plan=0:0"
        assert (await setup.client.get(path, x_probe_nonce=nonce)).fields(422) == ["X-Probe-Nonce"]


# -- what they cannot be used for ------------------------------------------------------------------


async def test_few_streams_at_once() -> None:
    """One holder gets its share, and has it back when its client has left."""
    path = f"{PROBE}/stream?id=one-name&plan=0:0,1000000:0"
    async with running(probes=True) as setup:
        ledger = setup.site.probes.ledger
        async with setup.client.open("GET", path) as first:
            await first.until("probe")
            for n in range(1, STREAMS_OF_ONE):
                ledger.begin("local", f"other-{n:03}", method="GET", http="1.1", size=0)
            refused = await setup.client.get(path)
            assert refused.headers["retry-after"]
            refused.problem(429)
            assert ledger.streams == STREAMS_OF_ONE
        assert ledger.streams == STREAMS_OF_ONE - 1
        seen = await report(setup.client, "one-name")
        assert [one["ended"] for one in seen["seen"]] == ["left"]


def test_few_streams_of_all_together() -> None:
    ledger = Ledger()
    for n in range(STREAMS):
        ledger.begin(f"holder-{n}", "one-name", method="GET", http="1.1", size=0)
    with pytest.raises(Problem, match="at once"):
        ledger.begin("another", "one-name", method="GET", http="1.1", size=0)


def test_few_bytes_in_a_minute() -> None:
    now = 0.0
    ledger = Ledger(now=lambda: now)

    def spend(size: int) -> None:
        execution = ledger.begin("ana", "one-name", method="GET", http="1.1", size=size)
        ledger.finish("ana", "one-name", execution, "done", 1.0)

    spend(BYTES)
    with pytest.raises(Problem, match="a minute"):
        spend(1)
    now = 30.0
    spend(BYTES // 2)
    with pytest.raises(Problem, match="a minute"):
        spend(BYTES // 2)


async def test_an_echo_is_paid_for_and_has_few_headers() -> None:
    """G11: it is longer than what it echoes."""
    async with running(probes=True) as setup:
        ledger = setup.site.probes.ledger = Ledger(now=lambda: 0.0)
        many = {f"x-{n}": "1" for n in range(101)}
        (await setup.client.call("GET", f"{PROBE}/echo", headers=many)).problem(431)
        ledger.spend(BYTES)
        refused = await setup.client.call("GET", f"{PROBE}/echo")
        refused.problem(429)
        assert refused.headers["retry-after"]
        ledger = setup.site.probes.ledger = Ledger(now=lambda: 0.0)
        echo = await setup.client.call("GET", f"{PROBE}/echo")
        with pytest.raises(Problem, match="a minute"):
            ledger.spend(BYTES - len(echo.body) + 1)
        ledger.spend(BYTES - len(echo.body))


def test_names_are_few_and_forgotten_and_nobody_can_push_out_anothers() -> None:
    """Memory: a million names leave a bounded number."""
    now = 0.0
    ledger = Ledger(now=lambda: now)

    def count(holder: str, name: str) -> None:
        execution = ledger.begin(holder, name, method="GET", http="1.1", size=0)
        ledger.finish(holder, name, execution, "done", 1.0)

    count("ana", "kept-name")
    for n in range(2000):
        count("bob", f"name-{n:06}")
    assert ledger.size <= 257
    assert ledger.report("ana", "kept-name").executions == 1
    for n in range(3000):
        count(f"holder-{n}", "one-name")
    assert ledger.size <= 1024
    for _ in range(100):
        count("ana", "kept-name")
    seen = ledger.report("ana", "kept-name")
    assert seen.executions >= 100
    assert len(seen.seen) == 16
    now = KEPT_SECONDS + 1
    assert ledger.report("ana", "kept-name").executions == 0
    assert ledger.size == 0


async def test_others_probes_are_like_those_that_never_were() -> None:
    """G12: nor can their names be used up."""
    async with running(keys=KEYS, probes=True, probe_secret=SECRET) as setup:
        await setup.client.call("POST", f"{PROBE}/count/one-name", headers=bearer(ANA))
        grants = [{"x-probe-token": Grants(SECRET).make(60)} for _ in range(2)]
        await setup.client.call("POST", f"{PROBE}/count/two-name", headers=grants[0])
        for path, holder, other in (
            ("one-name", bearer(ANA), bearer(BOB)),
            ("one-name", bearer(ANA), grants[0]),
            ("two-name", grants[0], grants[1]),
        ):
            mine, theirs = [
                (await setup.client.call("GET", f"{PROBE}/report/{path}", headers=headers)).json()
                for headers in (holder, other)
            ]
            assert (mine["executions"], theirs["executions"], theirs["seen"]) == (1, 0, [])


async def test_a_large_body_is_refused() -> None:
    async with running(probes=True) as setup:
        for path in (f"{PROBE}/echo", f"{PROBE}/stream?id=one-name&plan=0:0", f"{PROBE}/count/one-name"):
            (await setup.client.call("POST", path, body=b"x" * (64 * 1024 + 1))).problem(413)


async def test_streams_end_when_the_server_goes() -> None:
    """A deploy does not wait for probes."""
    async with running(probes=True) as setup:
        path = f"{PROBE}/stream?id=one-name&plan=0:0,1000000:0"
        async with setup.client.open("GET", path) as exchange:
            await exchange.until("probe")
            setup.site.tails.drain()
            answer: Answer = await exchange.whole()
        assert [event.event for event in answer.events()] == ["probe"]

        async def told() -> bool:
            seen = await report(setup.client, "one-name")
            return [one["ended"] for one in seen["seen"]] == ["drained"]

        await eventually_async(told)


async def test_a_slow_answer_ends_when_the_server_goes() -> None:
    probes = Probes(going=lambda: True)
    assert not await probes.until(1e9)
