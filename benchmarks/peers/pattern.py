"""What is usually written: FastAPI, sse-starlette, a pub/sub connection per client, a polled stop key.

`/sub/NAME`: live, whoever publishes. `POST /chat`: starts an agent that says tokens, and streams them.
"""

import asyncio
import json
import os
import time
import uuid

import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

POLL_SECONDS = 1.0
STOP_EVERY = 25
"""Tokens between two looks at the stop key."""

client = redis.from_url(os.environ["REDIS_URL"], socket_timeout=None, max_connections=20_000)
app = FastAPI()
tasks = set()


class Chat(BaseModel):
    tokens: int
    rate: float


async def stopped(run):
    return await client.get(f"stop:{run}") is not None


async def follow(run, ready=None):
    async with client.pubsub() as subscription:
        await subscription.subscribe(run)
        if ready is not None:
            ready.set()
        for data in await client.lrange(f"history:{run}", 0, -1):
            yield {"event": "token", "data": data.decode()}
        seen = 0
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=POLL_SECONDS)
            seen += 1
            if (message is None or seen % STOP_EVERY == 0) and await stopped(run):
                return
            if message is None:
                continue
            data = message["data"].decode()
            if data == "[DONE]":
                yield {"event": "done", "data": "{}"}
                return
            yield {"event": "token", "data": data}


async def speak(run, chat, ready):
    await ready.wait()
    start = time.monotonic()
    for number in range(chat.tokens):
        if chat.rate:
            await asyncio.sleep(max(0, start + number / chat.rate - time.monotonic()))
        if number % STOP_EVERY == 0 and await stopped(run):
            break
        text = f"@{time.monotonic_ns():019d};word "
        data = json.dumps({"type": "token", "run_id": run, "seq": number, "text": text, "ts": time.time()})
        await client.rpush(f"history:{run}", data)
        await client.publish(run, data)
    await client.publish(run, "[DONE]")


@app.get("/sub/{name}")
async def sub(name: str):
    return EventSourceResponse(follow(name))


@app.post("/chat")
async def chat(body: Chat):
    run, ready = uuid.uuid4().hex, asyncio.Event()
    task = asyncio.create_task(speak(run, body, ready))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return EventSourceResponse(follow(run, ready))
