"""The commands and their options. What they do is imported when one of them is run."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jackline.cli.doctor import doctor
from jackline.cli.options import (
    DEFAULT_URL,
    Call,
    FollowOn,
    Full,
    Json,
    Name,
    Reason,
    Run,
    Token,
    Url,
    parse_json,
    parse_object,
    utf8,
)
from jackline.cli.proxy import proxy
from jackline.cli.slack import slack

if TYPE_CHECKING:
    from jackline.cli.running import Target

# Plain help: the pretty one imports rich, which takes longer than the help itself.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run agents on long tasks; watch, approve and stop them from anywhere.",
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Say the version and exit.")] = False,
) -> None:
    """Run agents on long tasks; watch, approve and stop them from anywhere."""
    if version:
        from importlib.metadata import version as of

        typer.echo(of("jackline"))
        raise typer.Exit


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="The address to listen on.  [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on.  [8787]")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="FILE.py:NAME", help="Your agent, instead of the default one.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="Redis or Valkey, instead of the embedded store.")
    ] = None,
    role: Annotated[
        Literal["web", "worker", "all"] | None, typer.Option(help="What to run here.  [all]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The default agent's model: demo, local, openai:NAME, …  [demo]")
    ] = None,
    mcp_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MCP servers whose tools the default agent has.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the embedded store lives.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings' file.  [jackline.toml]")
    ] = None,
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page, where there is a terminal and a display."),
    ] = None,
    open_unless_told: Annotated[bool, typer.Option("--open-unless-told", hidden=True)] = False,
) -> None:
    """Serve: a web process and a worker, until told to stop."""
    from jackline.cli.serve import serve as start

    code = start(
        host=host,
        port=port,
        agent=agent,
        redis=redis,
        role=role,
        model=model,
        mcp_config=mcp_config,
        data_dir=data_dir,
        config=config,
        open_page=open_page,
        open_unless_told=open_unless_told,
    )
    raise typer.Exit(code)


@app.command()
def chat(
    message: Annotated[
        str | None,
        typer.Argument(
            metavar="MESSAGE",
            help="What to ask for; - reads it from stdin. None: talk, run after run.",
            callback=utf8,
        ),
    ] = None,
    *,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="ID", help="Go on with this conversation.", callback=utf8),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent to ask.", callback=utf8)
    ] = None,
    on_busy: Annotated[
        Literal["reject", "queue", "stop"],
        typer.Option(
            "--on-busy", help="When the conversation has an active run: fail, wait for it, or stop it."
        ),
    ] = "reject",
    full: Full = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Start a run and watch it. On a terminal its questions are asked; Ctrl-C stops it or leaves it."""
    from jackline.cli import orders

    code = orders.chat(
        _target(url, token, json),
        message,
        conversation_id=conversation,
        agent=agent,
        on_busy=on_busy,
        full=full,
    )
    raise typer.Exit(code)


@app.command()
def tail(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run's id. With -f none is the newest."),
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with the conversation's next runs.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="10m|TIME|SEQ", help="Begin at entries that are not older, or at this one."),
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, metavar="N", help="Begin with the last N entries.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="SEQ", help="Begin after this entry.")] = None,
    until_pause: Annotated[
        bool, typer.Option("--until-pause", help="End when the run waits for an approval, too.")
    ] = False,
    full: Full = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Watch a run, from its beginning to its end."""
    if run is None and not follow:
        raise typer.BadParameter("which one? jackline runs lists them; -f takes the newest", param_hint="RUN")
    if sum(each is not None for each in (since, lines, after)) > 1:
        raise typer.BadParameter("one beginning, please", param_hint="--since, --lines and --after")
    if follow and until_pause:
        raise typer.BadParameter("ends where --follow goes on", param_hint="--until-pause")
    from jackline.cli import orders

    wish = orders.Wish(
        after=after, since=since, lines=lines, until_pause=until_pause, follow=follow, full=full
    )
    raise typer.Exit(orders.tail(_target(url, token, json), run, wish))


@app.command()
def runs(
    *,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="ID", help="Only runs of this conversation."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing what changes.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    if watch and cursor is not None:
        raise typer.BadParameter("a list that changes has no pages", param_hint="--cursor")
    from jackline.cli import lists

    wish = lists.Listing(state=state, conversation_id=conversation, limit=limit, cursor=cursor)
    order = lists.watch_runs if watch else lists.runs
    raise typer.Exit(order(_target(url, token, json), wish))


@app.command()
def approve(
    call: Call,
    *,
    args: Annotated[
        str | None, typer.Option(metavar="JSON", help="Arguments to run it with instead.")
    ] = None,
    outcome: Annotated[
        Literal["retry", "done", "abort"] | None,
        typer.Option(help="For a call whose outcome is not known: what to make of it."),
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --outcome done: the result it had.")
    ] = None,
    reason: Reason = None,
    follow: FollowOn = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Approve a tool call, or settle one whose outcome is not known."""
    if outcome is None and result is not None:
        raise typer.BadParameter("goes with --outcome done", param_hint="--result")
    if outcome is not None and args is not None:
        raise typer.BadParameter("a call with an outcome has run; its arguments stand", param_hint="--args")
    edited, value = parse_object("--args", args), parse_json("--result", result)
    from jackline.cli import orders
    from jackline.client.api import Decision

    approved = True if outcome is None else None
    decision = Decision(
        call_id=call, approve=approved, args=edited, outcome=outcome, result=value, reason=reason
    )
    raise typer.Exit(orders.decide(_target(url, token, json), decision, follow=follow))


@app.command()
def deny(
    call: Call,
    *,
    reason: Reason = None,
    follow: FollowOn = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Deny a tool call; the agent is told, and the run goes on."""
    from jackline.cli import orders
    from jackline.client.api import Decision

    decision = Decision(call_id=call, approve=False, reason=reason)
    raise typer.Exit(orders.decide(_target(url, token, json), decision, follow=follow))


@app.command()
def stop(
    run: Run,
    *,
    reason: Reason = None,
    after_step: Annotated[
        bool, typer.Option("--after-step", help="Let the calls that run finish; start nothing more.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Wait until it is quiet, and say what was done."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Stop a run. Accepted at once, whatever the run is doing."""
    from jackline.cli import orders

    code = orders.stop(
        _target(url, token, json),
        run,
        reason=reason,
        mode="after_step" if after_step else "immediate",
        wait_s=wait,
    )
    raise typer.Exit(code)


bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure: stops on servers of its own, viewers of a running server.",
)
app.add_typer(bench, name="bench")


@bench.callback()
def benchmarks() -> None:
    """Measure: stops on servers of its own, viewers of a running server."""


@bench.command("stop")
def bench_stop(
    *,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How many stops of each kind.")] = 50,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="This Redis or Valkey, instead of a scratch one.")
    ] = None,
    sqlite: Annotated[bool, typer.Option("--sqlite", help="The embedded store instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The figures as one JSON object.")] = False,
) -> None:
    """Stop runs, and tell how long it took until they said so and until they had ended."""
    if redis is not None and sqlite:
        raise typer.BadParameter("is another store than --redis", param_hint="--sqlite")
    from jackline.cli.bench import stop as measure

    raise typer.Exit(measure(runs=runs, redis=redis, sqlite=sqlite, as_json=json))


@bench.command("viewers")
def bench_viewers(
    *,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How many runs.")] = 1,
    viewers: Annotated[int, typer.Option(min=1, max=10_000, help="How many viewers each has.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, help="Tokens a second that the speaker is asked for.")] = 50,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long to measure.")] = 5,
    tick: Annotated[int | None, typer.Option(min=1, help="Ask for a write at most every so many ms.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What to ask an agent that is not the speaker.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="The agent to ask.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Annotated[bool, typer.Option("--json", help="The figures as one JSON object.")] = False,
) -> None:
    """Watch runs of a running server with many viewers, and tell what came and how late."""
    from jackline.bench.viewers import Wish
    from jackline.cli.bench import viewers as measure

    query = "" if tick is None else f"?tick={tick}"
    wish = Wish(
        runs=runs, viewers=viewers, rate=rate, seconds=seconds, prompt=prompt, agent=agent, query=query
    )
    raise typer.Exit(measure(wish, url=url, token=token, as_json=json))


@app.command()
def drill(
    *,
    agent: Annotated[
        str | None, typer.Option(metavar="FILE.py:NAME", help="Your agent, instead of the drill's own.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="What each run is asked for.")] = "drill",
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="A scratch database, instead of a Redis of its own.")
    ] = None,
    sqlite: Annotated[bool, typer.Option("--sqlite", help="The embedded store, instead of a Redis.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="FAULT", help="Only this fault; can be given again.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs for each fault.")] = 4,
    seed: Annotated[int, typer.Option(help="The random moments; the same ones for the same seed.")] = 1,
    list_: Annotated[bool, typer.Option("--list", help="Say which faults there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask about --redis.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per fault.")] = False,
) -> None:
    """Break real processes around your agent, and see what holds."""
    from jackline.cli import drill as drills
    from jackline.drill.faults import FAULTS
    from jackline.drill.stage import Plan

    if list_:
        raise typer.Exit(drills.list_faults())
    unknown = set(only or ()) - {fault.name for fault in FAULTS}
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: --list says what there is", param_hint="--only"
        )
    if redis is not None and sqlite:
        raise typer.BadParameter("one store, please", param_hint="--redis and --sqlite")
    if redis is not None and not yes:
        # Its keys have a prefix of their own, but its memory and its time are the database's.
        typer.confirm(f"Runs are made and broken in {redis}: is it a scratch database?", abort=True, err=True)
    plan = Plan(agent=agent, redis=redis, sqlite=sqlite, prompt=prompt)
    order = drills.Order(plan=plan, only=only or (), runs=runs, seed=seed, json=json)
    raise typer.Exit(drills.drill(order))


app.command()(proxy)
app.command()(doctor)
app.add_typer(slack, name="slack")


@app.command("open")
def open_(
    name: Annotated[
        str | None,
        typer.Argument(metavar="RUN|CALL|CONVERSATION", help="What to show; the list without."),
    ] = None,
    *,
    print_: Annotated[bool, typer.Option("--print", help="Only print the address.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Open the page in a browser; prints the address where there is none."""
    from jackline.cli import records

    raise typer.Exit(records.open_page(_target(url, token, json), name, only_print=print_))


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")
    ],
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", hidden=True)] = None,
    *,
    within: Annotated[
        float,
        typer.Option(
            envvar="JACKLINE_COMPLETION_WITHIN", min=0, metavar="SECONDS", help="How long a server may take."
        ),
    ] = 1.0,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Print what makes a shell complete commands, options and ids."""
    from jackline.cli import completion as completions

    if words is None:
        typer.echo(completions.script(shell), nl=False)
    else:
        place = completions.Place(url=url, token=token, within_s=within)
        for line in completions.complete(typer.main.get_command(app), words, place):
            typer.echo(line)


@app.command()
def export(
    name: Name,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.  [stdout]")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Write a run, or a conversation with its runs, as JSON lines: entries and stored results."""
    from jackline.cli import records

    raise typer.Exit(records.export(_target(url, token, json), name, file=output))


@app.command()
def delete(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    json: Json = False,
) -> None:
    """Delete a finished run, or a conversation whose runs have finished, for ever."""
    from jackline.cli import records

    raise typer.Exit(records.delete(_target(url, token, json), name, sure=yes))


def _target(url: str, token: str | None, as_json: bool) -> Target:
    from jackline.cli import running

    return running.Target(url=url, token=token, json=as_json)
