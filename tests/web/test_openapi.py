"""Whatever the document allows, the app answers as the document says (G11)."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from jackline.web.openapi import openapi
from tests.web.harness import JSON, Answer, Setup, running

_EXAMPLES = 15
_DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi()))
_OPERATIONS = [(method.upper(), path) for path, item in _DOCUMENT["paths"].items() for method in item]
_SCHEMA: Any = schemathesis.openapi.from_dict(_DOCUMENT)
_CHECKS: list[Any] = [
    getattr(checks, f"{name}_conformance")
    for name in ("status_code", "content_type", "response_headers", "response_schema")
]


@pytest.mark.parametrize(("method", "path"), _OPERATIONS)
def test_every_answer_is_one_that_the_document_promises(method: str, path: str) -> None:
    """Valid and invalid requests, about things that exist and things that do not; JSON answers."""
    operation: Any = _SCHEMA[path][method]
    modes = [mode for mode in schemathesis.GenerationMode if _can(operation, mode)]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    @hypothesis_settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=cases, kind=st.sampled_from(["waiting", "ended", "unknown"]))
    def every_case(case: Any, kind: str) -> None:
        answer, request = asyncio.run(_exchange(case, kind))
        assert answer.status < 500, answer.body
        case.validate_response(_response(answer, request), checks=_CHECKS)

    every_case()


def _can(operation: Any, mode: Any) -> bool:
    """Without parameters or a body there is nothing to send that would be wrong."""
    is_positive: bool = mode == schemathesis.GenerationMode.POSITIVE
    has_input = operation.body or operation.query or operation.headers or operation.path_parameters
    return is_positive or bool(has_input)


async def _exchange(case: Any, kind: str) -> tuple[Answer, requests.PreparedRequest]:
    async with running() as setup:
        if case.path_parameters and kind != "unknown":
            run_id = await _run(setup, kind)
            real = {
                "path": "main.js",
                "run_id": run_id,
                "call_id": f"{run_id}.1",
                "conversation_id": run_id.split(".")[0],
                "artifact_id": "none",
                "nonce": "of-a-count",
                "id": "of-a-probe",
            }
            case.path_parameters = {name: real[name] for name in case.path_parameters}
        # A segment of dots would be resolved away by the client and reach another route.
        assume(not {".", ".."} & {str(value) for value in case.path_parameters.values()})
        request = requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
        parts = urlsplit(request.url or "")
        assert isinstance(parts.path, str)
        headers = {name: str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        answer = await setup.client.call(
            case.method,
            f"{unquote(parts.path)}?{parts.query}".removesuffix("?"),
            body=body,
            headers={**headers, **JSON},
        )
        return answer, request


async def _run(setup: Setup, kind: str) -> str:
    if kind == "ended":
        return await setup.whole_run()
    worker = setup.worker(await setup.client.chat())
    await worker.execute()
    await worker.ask()
    return worker.run_id


def _response(answer: Answer, request: requests.PreparedRequest) -> schemathesis.Response:
    return schemathesis.Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=request,
        elapsed=0.0,
        verify=False,
    )
