"""The Python client of a Jackline server.

    async with Client("http://127.0.0.1:8787") as client:
        async for frame in client.chat("is the disk full?"):
            ...

A `Follow` survives cuts, deploys and time-outs by itself; see its docstring for what it guarantees.
"""

from jackline.client.api import (
    Artifact,
    Client,
    Decided,
    Decision,
    OnBusy,
    Page,
    Started,
    StopMode,
    Stopped,
    Until,
)
from jackline.client.connected import FollowState
from jackline.client.errors import ClientError, ProtocolViolation, Refused, Unreachable
from jackline.client.feed import Feed, FeedFrame, FeedGap, FeedHeartbeat, FeedReady
from jackline.client.follow import Follow
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown, wire
from jackline.client.pace import Pace

__all__ = [
    "Artifact",
    "Client",
    "ClientError",
    "Decided",
    "Decision",
    "End",
    "Entry",
    "Feed",
    "FeedFrame",
    "FeedGap",
    "FeedHeartbeat",
    "FeedReady",
    "Follow",
    "FollowState",
    "Frame",
    "Gap",
    "Heartbeat",
    "OnBusy",
    "Pace",
    "Page",
    "ProtocolViolation",
    "Ready",
    "Refused",
    "Shutdown",
    "Started",
    "StopMode",
    "Stopped",
    "Unreachable",
    "Until",
    "wire",
]
