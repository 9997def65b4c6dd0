"""What the server's answers mean to people, and which of them are the server's at all. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from jackline.client.errors import ClientError, Refused, Unreachable
from jackline.slack.mrkdwn import escape

_AWAY: Final = "Jackline does not answer. See what the thread says, and try again."


def is_away(error: ClientError) -> bool:
    """Whether nobody answered who could know: nothing did, or something else that stands in its place.
    While a gateway begins anew its 404 says nothing of a run; taken for the server's, a run that goes on
    would be told to be gone."""
    match error:
        case Unreachable():
            return True
        case Refused():
            # Every refusal of Jackline's own is a problem document with these.
            return error.problem.get("type") != "about:blank" or not error.problem.get("detail")
        case _:
            return False


def says_gone(error: Refused) -> bool:
    """Whether the server says that there is no such thing, or that it is somebody else's."""
    return error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) and not is_away(error)


def explain(error: ClientError, *, slack: bool = True) -> str:
    """Why it was not done, and what to do."""
    match error:
        case _ if is_away(error):
            text = _AWAY
        case Refused(status=HTTPStatus.UNAUTHORIZED):
            text = "Jackline does not take your key; ask its operator to map you to another (slack_users)."
        case Refused(status=HTTPStatus.NOT_FOUND):
            text = "not found, or not yours to decide."
        case Refused() if error.problem.get("by"):
            at = f" at {error.problem['at']}" if error.problem.get("at") else ""
            text = f"already {error.problem.get('state', 'decided')} by {error.problem['by']}{at}."
        case Refused():
            text = "; ".join(f"{field}: {wanted}" for field, wanted in error.fields) or error.detail
        case _:
            text = str(error)
    return escape(text) if slack else text


def because(name: str, reason: str = "") -> str:
    """The reason of a decision: who pressed, as the key may be that of several people, and why."""
    return f"{name} in Slack" + (f": {reason}" if reason else "")
