"""A stdio MCP server that answers cancelled calls, as its tools' names say. Written without an SDK, as
those let no such answer pass. With `mute` as second argument it never says which tools it has.
`began` in the directory given as argument tells that a call is there."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

TRACES = Path(sys.argv[1])
TOOLS = ["finishes", "fails", "breaks", "says_so", "is_silent", "dies", "is_deaf"]
INIT: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "frank", "version": "1"},
}


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def begin(tool: str) -> None:
    (TRACES / "began").touch()
    if tool == "is_deaf":
        time.sleep(3600)


def end(tool: str, call: int) -> None:
    """What it does when it is told that the call is cancelled."""
    text = [{"type": "text", "text": "written all the same"}]
    match tool:
        case "finishes":
            send(id=call, result={"content": text, "structuredContent": {"rows": 7}})
        case "fails":
            send(id=call, result={"content": [{"type": "text", "text": "half way"}], "isError": True})
        case "breaks":
            send(id=call, error={"code": -32603, "message": "the disk is on fire"})
        case "says_so":
            send(id=call, error={"code": -32800, "message": "Request cancelled"})
        case "dies":
            sys.exit(3)
        case _:
            (TRACES / "told").touch()


def main() -> None:
    calls: dict[int, str] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        match asked["method"]:
            case "initialize":
                send(id=asked["id"], result=INIT)
            case "tools/list" if sys.argv[2:] == ["mute"]:
                (TRACES / "listing").touch()
            case "tools/list":
                found = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
                send(id=asked["id"], result={"tools": found})
            case "tools/call":
                calls[asked["id"]] = asked["params"]["name"]
                begin(calls[asked["id"]])
            case "notifications/cancelled":
                call = asked["params"]["requestId"]
                end(calls.get(call, ""), call)
            case _ if "id" in asked:
                send(id=asked["id"], error={"code": -32601, "message": "no such method"})
            case _:
                pass


if __name__ == "__main__":
    main()
