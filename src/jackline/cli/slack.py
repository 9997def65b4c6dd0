"""`jackline slack`: the bridge, and the manifest of its app."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jackline.cli.options import DEFAULT_URL, Url
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from jackline.settings import Settings
    from jackline.slack.bridge import Wish

slack = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Run agents from Slack: a bridge between a Slack app and a server.",
)


@slack.callback()
def run(
    context: typer.Context,
    *,
    url: Url = DEFAULT_URL,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Where people open the server's page.  [--url]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings' file.  [jackline.toml]")
    ] = None,
) -> None:
    """Run agents from Slack: a bridge between a Slack app and a server. Tokens are settings, not options."""
    if context.invoked_subcommand is not None:
        return
    from jackline.settings import load

    try:
        _check_installed()
        _run(_wish(load(config, public_url=public_url), url))
    except ConfigError as error:
        print(f"jackline: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


@slack.command()
def manifest(
    *,
    name: Annotated[str, typer.Option(help="What the app and its bot are called.")] = "Jackline",
    command: Annotated[str, typer.Option(help="The slash command.")] = "/jackline",
) -> None:
    """Print the manifest of the Slack app: its scopes, its events, its command."""
    import json

    from jackline.slack.manifest import manifest as made

    print(json.dumps(made(name, command), indent=2))


def _check_installed() -> None:
    missing = [name for name in ("aiohttp", "slack_bolt") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed: pip install 'jackline[slack]'")


def _wish(settings: Settings, url: str) -> Wish:
    from jackline.client.http import check_url
    from jackline.slack.bridge import Wish

    try:
        check_url(url)
    except ValueError as error:
        raise ConfigError(f"--url: {error}") from error
    bot, app = settings.slack_bot_token, settings.slack_app_token
    if bot is None or not bot.get_secret_value().startswith("xoxb-"):
        raise ConfigError("set JACKLINE_SLACK_BOT_TOKEN to the app's bot token, xoxb-…; see docs/slack.md")
    if app is None or not app.get_secret_value().startswith("xapp-"):
        raise ConfigError(
            "set JACKLINE_SLACK_APP_TOKEN to an app-level token with connections:write, xapp-…; "
            "see docs/slack.md"
        )
    if not settings.slack_users:
        raise ConfigError(
            "nobody may use the bridge: map Slack user ids to API keys in slack_users; see docs/slack.md"
        )
    return Wish(
        url=url,
        page=settings.public_url or url,
        app_token=app.get_secret_value(),
        bot_token=bot.get_secret_value(),
        users={user: key.get_secret_value() for user, key in settings.slack_users.items()},
        path=settings.slack_db or settings.data_dir / "slack.db",
        slack_url=settings.slack_url,
        teams=settings.slack_teams,
        channels=settings.slack_channels,
        rate=settings.slack_rate,
    )


def _run(wish: Wish) -> None:
    """Until SIGTERM or SIGINT; what is on its way to Slack is brought to its end."""
    import logging
    import signal

    import anyio

    from jackline.cli.logs import configure_logs
    from jackline.slack.bridge import bridge

    async def until_told() -> None:
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    async for _ in signals:
                        break
                group.cancel_scope.cancel()

            group.start_soon(leave)
            await bridge(wish)

    configure_logs()
    # It warns of how it is set up here, at each start.
    logging.getLogger("slack_bolt.AsyncApp").setLevel(logging.ERROR)
    try:
        anyio.run(until_told)
    except* ConfigError as group:
        # What a task raises comes in groups within groups; there is one of these.
        raise ConfigError(str(_first(group))) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
