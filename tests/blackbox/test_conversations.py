"""Conversations: one active run each, a history that the model knows, and no chat that counts twice."""

from __future__ import annotations

import json

import httpx2

from tests.blackbox.api import ROOT, Api, Check, at_once, call, steps
from tests.blackbox.conftest import World


def chat(api: Api, prompt: str, key: str | None = None, **more: object) -> httpx2.Response:
    headers = {"Accept": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    body = {"messages": [{"role": "user", "content": prompt}], **more}
    return api.http.post(f"{ROOT}/chat", json=body, headers=headers)


def test_a_second_chat_on_a_busy_conversation_is_refused(anywhere: World) -> None:
    """G11: 409 names the active run, and nothing is written; afterwards the conversation is free."""
    run_id = anywhere.api.start(steps(call("wait_for", name="busy")))
    conversation = run_id.split(".")[0]
    for api in (anywhere.api, anywhere.other):
        answer = chat(api, "too early", conversation_id=conversation)
        assert answer.status_code == 409, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["run_id"] == run_id
    assert anywhere.other.http.get(f"{ROOT}/conversations/{conversation}").json()["active"] == run_id
    anywhere.open_gate("busy")
    anywhere.api.ended(run_id)
    following = anywhere.other.start("now", conversation_id=conversation)
    assert following == f"{conversation}.2"
    assert anywhere.api.ended(following)["state"] == "completed"


def test_queued_chats_run_one_after_the_other(anywhere: World) -> None:
    """G3: in the order in which they came, whatever replica they came to."""
    name = f"queue-{len(anywhere.servers)}"
    first = anywhere.api.start(steps(call("wait_for", name=name), call("note", text=f"{name} 1")))
    conversation = first.split(".")[0]
    queued = [
        api.start(steps(call("note", text=f"{name} {number}")), conversation_id=conversation, on_busy="queue")
        for number, api in enumerate((anywhere.other, anywhere.api, anywhere.other, anywhere.api), 2)
    ]
    assert {anywhere.api.snapshot(run_id)["state"] for run_id in queued} == {"queued"}
    anywhere.open_gate(name)
    for run_id in (first, *queued):
        assert anywhere.api.ended(run_id)["state"] == "completed"
        Check(log=anywhere.api.log(run_id))
    notes = [line for line in anywhere.effects if line.startswith(f"note {name} ")]
    assert notes == [f"note {name} {number}" for number in range(1, 6)]


def test_a_chat_may_take_the_place_of_the_active_run(anywhere: World) -> None:
    """G4: on_busy stop stops it first; the new one then runs."""
    first = anywhere.api.start(steps(call("slow", seconds=1000)))
    anywhere.api.until_tool(first, "slow", "started")
    conversation = first.split(".")[0]
    second = anywhere.other.start("instead", conversation_id=conversation, on_busy="stop")
    assert anywhere.api.ended(second)["state"] == "completed"
    log = anywhere.api.log(first)
    Check(log=log).no_start_after_stop()
    assert log[-1]["state"] == "stopped"


def test_the_model_knows_what_was_said_before(anywhere: World) -> None:
    """Every run of a conversation begins with its history, on whatever worker."""
    first = anywhere.api.start(steps({"say": "one"}))
    conversation = first.split(".")[0]
    prompts = [steps({"say": "one"})]
    anywhere.api.ended(first)
    for api in (anywhere.other, anywhere.api, anywhere.other):
        prompt = steps({"tell": "prompts"})
        run_id = api.start(prompt, conversation_id=conversation)
        ended = api.ended(run_id)
        assert json.loads(ended["transcript"][1]["text"]) == prompts
        prompts.append(prompt)
    history = anywhere.other.http.get(f"{ROOT}/conversations/{conversation}").json()
    assert [run["run_id"] for run in history["runs"]] == [f"{conversation}.{n}" for n in range(1, 5)]
    assert history["active"] is None


def test_an_unknown_conversation_is_not_begun(anywhere: World) -> None:
    """G11, G12: only the server makes up ids."""
    assert chat(anywhere.api, "hello", conversation_id="zzzzzzzzzzzzzzzzzzzz").status_code in {404, 422}


def test_a_chat_sent_again_with_its_key_is_the_same_run(anywhere: World) -> None:
    """No chat counts twice: the same key gives the same run, on each replica, also when it has ended."""
    key = f"again-{len(anywhere.servers)}"
    prompt = steps(call("note", text=key))
    answers = [chat(api, prompt, key) for api in (anywhere.api, anywhere.other)]
    assert [answer.status_code for answer in answers] == [202, 202]
    run_id = answers[0].json()["run_id"]
    anywhere.api.ended(run_id)
    answers.append(chat(anywhere.other, prompt, key))
    assert {answer.json()["run_id"] for answer in answers} == {run_id}
    body = {"messages": [{"role": "user", "content": prompt}]}
    headers = {"Idempotency-Key": key}
    with anywhere.other.stream("POST", "/chat?compact=0", json=body, headers=headers) as frames:
        entries = [frame for frame in frames if frame.entry]
    assert entries == anywhere.api.entries(run_id)
    assert anywhere.effects.count(f"note {key}") == 1


def test_a_key_with_another_body_is_refused(anywhere: World) -> None:
    """G11: 422 names the header, on each replica, and nothing runs."""
    key = f"other-{len(anywhere.servers)}"
    run_id = chat(anywhere.api, "one thing", key).json()["run_id"]
    for api in (anywhere.api, anywhere.other):
        answer = chat(api, steps(call("note", text=f"{key} ran")), key)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    anywhere.api.ended(run_id)
    assert f"note {key} ran" not in anywhere.effects


def test_chats_with_one_key_at_once_are_one_run(anywhere: World) -> None:
    """The key is reserved before the run is made: many requests, all replicas, one run."""
    key = f"at-once-{len(anywhere.servers)}"
    prompt = steps(call("note", text=key))
    clients = [anywhere.client(web.url) for web in anywhere.webs * 6]
    answers = at_once(clients, lambda client: chat(client, prompt, key))
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    runs = {answer.json()["run_id"] for answer in answers}
    assert len(runs) == 1
    run_id = runs.pop()
    assert anywhere.api.ended(run_id)["state"] == "completed"
    assert anywhere.effects.count(f"note {key}") == 1
    conversation = run_id.split(".")[0]
    listed = anywhere.api.http.get(f"{ROOT}/runs", params={"conversation_id": conversation}).json()["runs"]
    assert [run["run_id"] for run in listed] == [run_id]


def test_chats_at_once_on_one_conversation_make_one_active_run(anywhere: World) -> None:
    """G3: of many chats on all replicas one is taken, the others learn which."""
    conversation = anywhere.api.start("hello").split(".")[0]
    anywhere.api.ended(f"{conversation}.1")
    gate = f"active-{len(anywhere.servers)}"
    prompt = steps(call("wait_for", name=gate))
    clients = [anywhere.client(web.url) for web in anywhere.webs * 4]
    answers = at_once(clients, lambda client: chat(client, prompt, conversation_id=conversation))
    assert sorted({answer.status_code for answer in answers}) == [202, 409]
    assert [answer.status_code for answer in answers].count(202) == 1
    assert {answer.json()["run_id"] for answer in answers} == {f"{conversation}.2"}
    anywhere.open_gate(gate)
    assert anywhere.api.ended(f"{conversation}.2")["state"] == "completed"
