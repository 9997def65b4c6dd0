"""The manifest of the Slack app: what it needs, and no more. Pure."""

from __future__ import annotations

from typing import Any


def manifest(name: str = "Jackline", command: str = "/jackline") -> dict[str, Any]:
    """What https://api.slack.com/apps takes under "from a manifest"."""
    return {
        "display_information": {
            "name": name,
            "description": "Run agents on long tasks; watch, approve and stop them from here.",
        },
        "features": {
            # Else nobody can write to the bot alone.
            "app_home": {"home_tab_enabled": False, "messages_tab_enabled": True},
            "bot_user": {"display_name": name.lower(), "always_online": True},
            "slash_commands": [
                {
                    "command": command,
                    "description": "Ask the agent for something",
                    "usage_hint": "is the disk full?",
                    "should_escape": True,
                }
            ],
        },
        "oauth_config": {
            "scopes": {
                "bot": [
                    "app_mentions:read",  # a mention starts a run
                    "channels:history",  # `stop` in a thread; whether a message was posted
                    "chat:write",
                    "commands",
                    "groups:history",  # the same in private channels
                    "im:history",  # a direct message is as a mention
                ]
            }
        },
        "settings": {
            "event_subscriptions": {
                "bot_events": ["app_mention", "message.channels", "message.groups", "message.im"]
            },
            "interactivity": {"is_enabled": True},
            "org_deploy_enabled": False,
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
        },
    }
