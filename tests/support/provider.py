"""A model's provider for tests: the Chat Completions API over HTTP, which says what the prompt tells it to.

A prompt is a JSON list of steps, one for each response: `{"say": text, "calls": [[tool, args], …]}`.
After the last it says `done`.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.processes import HOST, free_port


@dataclass(kw_only=True)
class Provider:
    """What was asked of it. `url` is what a client takes for its base URL."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@contextlib.contextmanager
def provider() -> Generator[Provider]:
    """Answer for the length of the block."""
    port = free_port()
    made = Provider(url=f"http://{HOST}:{port}/v1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.requests.append(request)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for chunk in _chunks(request):
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    with http.server.ThreadingHTTPServer((HOST, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def _step(messages: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """Which response this is since the last prompt, and what it is to be."""
    steps: list[dict[str, Any]] = []
    at = 0
    for message in messages:
        if message["role"] == "assistant":
            at += 1
        if message["role"] == "user" and str(message["content"]).startswith("["):
            steps, at = json.loads(message["content"]), 0
    return at, steps[at] if at < len(steps) else {"say": "done"}


def _chunks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at, step = _step(request["messages"])
    kind = "chat.completion.chunk"
    head = {"id": f"chatcmpl-{at}", "object": kind, "created": 1, "model": request["model"]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in str(step.get("say", "")).split():
        yield chunk({"content": f"{word} "})
    calls = step.get("calls", [])
    for index, (name, args) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        opened = {"index": index, "id": f"call-{at}-{index}", "type": "function", "function": function}
        yield chunk({"tool_calls": [opened]})
        # As providers do: the arguments come in pieces.
        text = json.dumps(args)
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    yield {**head, "choices": [], "usage": usage}
