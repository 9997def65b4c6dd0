"""What a server is sent and must refuse: by hand, and drawn from its own document."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.api import Api, call, steps
from tests.blackbox.conftest import World, world
from tests.blackbox.refused import CHATS, DECISIONS, METHODS, READS, STOPS, Bad
from tests.support.processes import HOST, PATIENCE

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


class Stage:
    """One run that waits for an answer, and one that has completed."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.run = api.start(steps(call("delete", path="/never")))
        self.done = api.start("hello")
        api.until(self.run, "awaiting_approval")
        api.ended(self.done)

    def fill(self, text: str) -> str:
        """Put the ids in."""
        conversation = self.run.partition(".")[0]
        for name, value in (("RUN", self.run), ("CALL", f"{self.run}.1"), ("DONE", self.done)):
            text = text.replace(name, value)
        return text.replace("CONVERSATION", conversation)

    def written(self) -> Any:
        """All that there is."""
        return self.api.run_ids(), self.api.log(self.run), self.api.log(self.done)

    def send(self, bad: Bad) -> tuple[http.client.HTTPResponse, bytes]:
        """As it stands: no client's library corrects it."""
        connection = http.client.HTTPConnection(HOST, int(self.api.url.rpartition(":")[2]), timeout=PATIENCE)
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json"} | bad.headers
            body = bad.raw if b"\xff" in bad.raw else self.fill(bad.raw.decode()).encode()
            connection.request(bad.method, self.fill(bad.path), body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()


@pytest.mark.parametrize(
    "requests", [CHATS, DECISIONS, STOPS, READS, METHODS], ids=["chat", "decide", "stop", "read", "method"]
)
def test_bad_input_is_refused_by_name_and_changes_nothing(
    embedded: World, requests: list[Bad], subtests: pytest.Subtests
) -> None:
    """G11: a 4xx problem document that names what is wrong; nothing is written, nothing starts."""
    stage = Stage(embedded.api)
    before = stage.written()
    effects = embedded.effects
    for bad in requests:
        with subtests.test(bad.name):
            answer, content = stage.send(bad)
            assert answer.status == bad.status, content
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = json.loads(content)
            assert problem["status"] == bad.status
            assert problem["title"]
            assert problem["detail"]
            assert [error["field"] for error in problem.get("errors", [])] == list(bad.fields), problem
            assert all(error["detail"] for error in problem.get("errors", []))
            if bad.status == http.HTTPStatus.METHOD_NOT_ALLOWED:
                assert bad.method not in answer.headers["Allow"]
                assert answer.headers["Allow"]
            assert stage.written() == before
    assert embedded.effects == effects
    assert embedded.api.stop(stage.run, wait=30).json()["state"] == "stopped"


def test_a_long_message_is_no_bad_input(embedded: World) -> None:
    """G1: what is under the body's limit is taken, run, and given back whole."""
    prompt = steps({"say": "read "}) + " " * 900_000
    run_id = embedded.api.start(prompt)
    assert embedded.api.ended(run_id)["output"] == "read "
    first = embedded.api.entries(run_id)[0].data
    assert (first["state"], first["input"][0]["content"]) == ("queued", prompt)


def test_requests_drawn_from_its_own_document_find_no_fault(tmp_path: Path) -> None:
    """G11: Schemathesis reads /openapi.json and tries what it can think of: no 5xx, and every answer as
    documented. On a server of its own, because it deletes what it finds."""
    with world(tmp_path / "world") as made:
        command = [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{made.server.url}/openapi.json",
            f"--checks={','.join(CHECKS)}",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=4",
            "--seed=20261122",
            "--generation-database=none",
            "--header=Accept: application/json",
            "--no-color",
        ]
        environ = {**os.environ, "NO_PROXY": "*", "PYTHONWARNINGS": "default"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=170
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        paths = made.api.http.get("/openapi.json").json()["paths"]
        # All but that of the document itself.
        assert f"Tested: {sum(map(len, paths.values())) - 1}\n" in done.stdout
        assert made.api.ended(made.api.start("still here"))["state"] == "completed"
