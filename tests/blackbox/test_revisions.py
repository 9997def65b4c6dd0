"""An agent whose code changed: its old runs wait for the old code, and say so."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from tests.blackbox.api import Api, Check, Data, call, steps
from tests.blackbox.conftest import AGENT, environment
from tests.contract.redis_server import redis_server
from tests.support.processes import Server, eventually, serve


def test_a_run_is_driven_by_the_revision_that_began_it_and_says_why_it_waits(tmp_path: Path) -> None:
    """G7: after an upgrade nothing of the new code touches it; the old one brings it to its end, or a stop
    does, which needs no worker."""
    with redis_server(tmp_path, aof="always") as store:

        @contextlib.contextmanager
        def worker(revision: str, **env: str) -> Generator[Server]:
            own = environment(tmp_path) | {"JACKLINE_AGENT_REVISION": revision} | env
            with serve(
                tmp_path, agent=AGENT, redis=store.url, role="worker", env=own, name=revision
            ) as server:
                yield server

        web = serve(tmp_path, agent=AGENT, redis=store.url, role="web", env=environment(tmp_path))
        with web as server:
            api = Api(server.url)
            with worker("old"):
                runs = [api.start(steps(call("delete", path=f"/revision-{n}"))) for n in (1, 2)]
                for run_id in runs:
                    api.until(run_id, "awaiting_approval")
            for run_id in runs:
                assert api.decide(f"{run_id}.1", approve=True).status_code == 200

            def waits_for(run_id: str, reason: str) -> Data | None:
                told = api.snapshot(run_id)["waiting"]
                return told if told is not None and told["for"] == reason else None

            assert eventually(lambda: waits_for(runs[0], "worker"))["detail"] == "no worker lives"
            with worker("new", JACKLINE_MAX_RUNS="1"):
                told = eventually(lambda: waits_for(runs[0], "revision"))
                assert (told["revision"], told["served"]) == ("old", ["new"])
                filling = api.start(steps(call("wait_for", name="filled")))
                api.until_tool(filling, "wait_for", "started")
                behind = api.start(steps({"say": "at last"}))
                assert "max_runs" in eventually(lambda: waits_for(behind, "worker"))["detail"]
                (tmp_path / "gate-filled").touch()
                assert api.ended(behind)["state"] == "completed"
                assert api.stop(runs[1]).status_code == 202
                assert api.ended(runs[1])["state"] == "stopped"
                assert waits_for(runs[0], "revision")
            with worker("old", JACKLINE_MAX_RUNS="2"):
                assert api.ended(runs[0])["state"] == "completed"
            for run_id in runs:
                Check(log=api.log(run_id))
            api.http.close()
    effects = (tmp_path / "effects").read_text().splitlines()
    assert [line for line in effects if line.startswith("delete")] == ["delete /revision-1"]
