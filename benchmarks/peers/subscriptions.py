"""sse-starlette with a Redis subscription per viewer, and replays of a stream in a Redis.

`/sub/NAME`: live. `/resume/NAME`: what the stream has, then live. `/replay/NAME`: what it has, an event
per entry. `/pages/NAME`: the same by plain Starlette, a page of 1000 entries per write.
"""

import os

import redis.asyncio as redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

PAGE = 1000
client = redis.from_url(os.environ["REDIS_URL"], socket_timeout=None, max_connections=20_000)


async def pages(name):
    cursor = "-"
    while page := await client.xrange(f"log:{name}", cursor, "+", count=PAGE):
        yield [(key.decode(), fields[b"d"].decode()) for key, fields in page]
        cursor = "(" + page[-1][0].decode()


async def live(name):
    async with client.pubsub() as subscription:
        await subscription.subscribe(name)
        number = 0
        async for message in subscription.listen():
            if message["type"] == "message":
                number += 1
                yield ServerSentEvent(message["data"].decode(), event="token", id=str(number))


async def stored(name):
    async for page in pages(name):
        for key, data in page:
            yield ServerSentEvent(data, event="token", id=key)


async def both(name):
    async for event in stored(name):
        yield event
    async for event in live(name):
        yield event


async def sub(request):
    return EventSourceResponse(live(request.path_params["name"]))


async def resume(request):
    return EventSourceResponse(both(request.path_params["name"]))


async def replay(request):
    return EventSourceResponse(stored(request.path_params["name"]))


async def by_page(request):
    async def stream():
        async for page in pages(request.path_params["name"]):
            yield "".join(f"id: {key}\nevent: token\ndata: {data}\n\n" for key, data in page).encode()

    return StreamingResponse(stream(), media_type="text/event-stream")


app = Starlette(
    routes=[
        Route("/sub/{name}", sub),
        Route("/resume/{name}", resume),
        Route("/replay/{name}", replay),
        Route("/pages/{name}", by_page),
    ]
)
