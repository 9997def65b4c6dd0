"""Who may do what: keys, owners, host names and origins."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.api import ROOT, Api, call, steps
from tests.blackbox.conftest import World, world
from tests.support.processes import PATIENCE, clean_environment, free_port

ANA, BOB = "ana-key-1", "bob-key-1"
OPS = "https://ops.example.com"
BIG = 200_000


def key(principal: str, secret: str) -> str:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f'[[keys]]\nprincipal = "{principal}"\nsha256 = "{digest}"\n'


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with two people's keys and one origin, all from `jackline.toml`."""
    path = tmp_path_factory.mktemp("locked")
    text = f'cors_origins = ["{OPS}"]\n{key("user:ana", ANA)}{key("user:bob", BOB)}'
    (path / "jackline.toml").write_text(text)
    with world(path) as made:
        yield made


@pytest.fixture(scope="module")
def ana(locked: World) -> Api:
    return locked.client(Authorization=f"Bearer {ANA}")


@pytest.fixture(scope="module")
def bob(locked: World) -> Api:
    return locked.client(Authorization=f"Bearer {BOB}")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Bearer {ANA}x", f"Basic {ANA}", ANA, f"Bearer {ANA} {BOB}"],
)
def test_without_a_known_key_nothing_answers(locked: World, authorization: str) -> None:
    """G12: 401 on every route of the document but the open ones, for every method."""
    api = locked.client(**({"Authorization": authorization} if authorization else {}))
    for path, operations in document(api)["paths"].items():
        if not path.startswith("/api/"):
            continue
        for method in operations:
            answer = api.http.request(method, re.sub(r"\{\w+\}", "x", path), json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert api.http.get("/api/v1/agent/nothing").status_code == 401
    assert api.http.get("/healthz").status_code == 200


def document(api: Api) -> dict[str, Any]:
    return api.http.get("/openapi.json").json()


def body_for(path: str, method: str, ids: dict[str, str]) -> dict[str, Any] | None:
    """A body that would be good, were it the caller's own."""
    if method != "post":
        return None
    chat = {"messages": [{"role": "user", "content": "x"}], "conversation_id": ids["conversation_id"]}
    decision = {"approve": True}
    return {
        f"{ROOT}/chat": chat,
        f"{ROOT}/stop": {"run_id": ids["run_id"]},
        f"{ROOT}/approvals": {"decisions": [{"call_id": ids["call_id"], **decision}]},
        f"{ROOT}/approvals/{{call_id}}": decision,
    }.get(path, {})


def test_what_belongs_to_another_does_not_exist(ana: Api, bob: Api) -> None:
    """G12: on every route that takes an id, in the path or in the body; the same answer as for an id
    that there is not. Its owner finds it as it was."""
    run_id = ana.start(steps(call("big", size=BIG), call("delete", path="/hers")))
    ana.until(run_id, "awaiting_approval")
    result = next(entry["result"] for entry in ana.log(run_id) if entry.get("state") == "finished")
    ids = {
        "run_id": run_id,
        "conversation_id": run_id.partition(".")[0],
        "call_id": f"{run_id}.2",
        "artifact_id": result["artifact"],
    }
    before = ana.log(run_id)
    tried = 0
    for path, operations in document(bob)["paths"].items():
        for method in operations:
            body = body_for(path, method, ids)
            if ("{" not in path and not body) or path.startswith(("/api/v1/probe/", "/ui/")):
                continue  # the probes and the page's files know no runs, and have tests of their own
            tried += 1
            theirs = bob.http.request(method, path.format(**ids), json=body)
            assert theirs.status_code == 404, (method, path, theirs.text)
            # An id that nobody has, of the same shape.
            nobody = {name: value.replace(ids["conversation_id"], "a" * 20) for name, value in ids.items()}
            unknown = bob.http.request(method, path.format(**nobody), json=body_for(path, method, nobody))
            assert (unknown.status_code, unknown.content) == (theirs.status_code, theirs.content)
    assert tried >= 12, "the document has lost its routes"
    stop = bob.http.post(f"{ROOT}/stop", json={"conversation_id": ids["conversation_id"]})
    assert stop.status_code == 404
    for listed in ("/runs", "/conversations", "/approvals?state=all", f"/runs?conversation_id={run_id[:20]}"):
        (found,) = [value for name, value in bob.http.get(ROOT + listed).json().items() if name != "next"]
        assert found == [], listed
    assert ana.log(run_id) == before
    artifact = ana.http.get(f"{ROOT}/runs/{run_id}/artifacts/{ids['artifact_id']}")
    assert artifact.text.count("0123456789") == BIG // 10
    assert run_id in ana.run_ids()
    decided = ana.decide(ids["call_id"], approve=True)
    assert (decided.status_code, decided.json()["by"]) == (200, "user:ana")
    assert ana.ended(run_id)["state"] == "completed"
    assert ana.log(run_id)[0]["by"] == "user:ana"
    assert bob.http.delete(f"{ROOT}/runs/{run_id}").status_code == 404
    assert ana.http.delete(f"{ROOT}/runs/{run_id}").status_code == 204
    assert ana.http.get(f"{ROOT}/runs/{run_id}").status_code == 404


def test_the_same_idempotency_key_of_two_people_is_two_keys(ana: Api, bob: Api) -> None:
    """G10, G12: nobody learns from it what another has started."""
    ana.http.headers["Idempotency-Key"] = bob.http.headers["Idempotency-Key"] = "shared"
    hers, his = ana.start("mine"), bob.start("mine")
    assert (ana.start("mine"), bob.start("mine")) == (hers, his)
    assert hers != his
    del ana.http.headers["Idempotency-Key"], bob.http.headers["Idempotency-Key"]


def test_no_secret_stands_in_the_log(locked: World, ana: Api) -> None:
    """G12: neither a key nor its hash."""
    ana.ended(ana.start("hello"))
    text = locked.server.log()
    assert ANA not in text
    assert hashlib.sha256(ANA.encode()).hexdigest() not in text


def test_it_refuses_to_be_open_to_others(tmp_path: Path) -> None:
    """G12: without keys no address but the loopback; one line says why and what to do."""
    command = [sys.executable, "-m", "jackline", "serve", "--host", "0.0.0.0", "--port", str(free_port())]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=clean_environment(JACKLINE_DATA_DIR=str(tmp_path / "data")),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "0.0.0.0" in done.stderr
    assert "keys" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("jackline.example.com", 403),
        ("127.0.0.1.example.com", 403),
        ("evil.example:8787", 403),
        ("localhost:8787", 200),
        ("[::1]:8787", 200),
        ("10.0.0.7", 200),
        ("jackline", 200),
    ],
)
def test_without_keys_a_public_name_is_refused(embedded: World, host: str, status: int) -> None:
    """G12: a foreign site's name that points to this host (DNS rebinding) reaches nothing."""
    answer = embedded.api.http.get(f"{ROOT}/runs", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "allowed_hosts" in answer.json()["detail"]


def test_pages_of_other_origins_are_kept_out_by_default(embedded: World) -> None:
    """G12: CORS is closed, and what such a page sends without asking first is refused."""
    api, foreign = embedded.api, {"Origin": "https://evil.example"}
    before = api.run_ids()
    read = api.http.get(f"{ROOT}/runs", headers=foreign)
    assert "access-control-allow-origin" not in read.headers
    asked = api.http.options(f"{ROOT}/chat", headers={**foreign, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers
    body = {"messages": [{"role": "user", "content": "x"}]}
    for kind in ("application/json", "text/plain"):
        sent = api.http.post(f"{ROOT}/chat", json=body, headers={**foreign, "Content-Type": kind})
        assert sent.status_code == 403
    assert api.run_ids() == before


def test_a_listed_origin_is_let_in_and_no_other(ana: Api) -> None:
    """G12: with the setting `cors_origins`; the key is needed all the same."""
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    asked = ana.http.options(f"{ROOT}/chat", headers={"Origin": OPS, **ask})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == OPS
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    read = ana.http.get(f"{ROOT}/runs", headers={"Origin": OPS})
    assert read.headers["access-control-allow-origin"] == OPS
    assert "origin" in read.headers["vary"].lower()
    assert "access-control-allow-credentials" not in read.headers
    other = ana.http.get(f"{ROOT}/runs", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert ana.http.get(f"{ROOT}/runs", headers={"Origin": OPS, "Authorization": ""}).status_code == 401
