"""Starlette with a queue per viewer: entries come as lines over a socket and are put into every queue."""

import asyncio
import os
from collections import defaultdict
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

viewers = defaultdict(set)


async def take(reader, writer):
    async for line in reader:
        name, _, data = line.rstrip(b"\n").partition(b" ")
        for queue in viewers[name.decode()]:
            queue.put_nowait(data)
    writer.close()


@asynccontextmanager
async def lifespan(app):
    server = await asyncio.start_server(take, "127.0.0.1", int(os.environ["INGEST_PORT"]))
    async with server:
        yield


async def events(request):
    name = request.path_params["name"]

    async def stream():
        queue = asyncio.Queue()
        viewers[name].add(queue)
        try:
            yield b": hello\n\n"
            number = 0
            while True:
                data = await queue.get()
                number += 1
                yield b"id: %d\nevent: token\ndata: %b\n\n" % (number, data)
        finally:
            viewers[name].discard(queue)

    return StreamingResponse(stream(), media_type="text/event-stream")


app = Starlette(routes=[Route("/sub/{name}", events)], lifespan=lifespan)
