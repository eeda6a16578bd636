"""A process in the connector's place: it hears the bot's lines, accepts them, and takes the time.

    python -m benchmarks.connector URL

It answers like `benchmarks.subscribers`: how many lines the bot has said so far, and how many
nanoseconds each of the latest came after the line that it answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import nats
from nats.aio.msg import Msg

from benchmarks.subscribers import HEARD, LATENCIES, answer, told
from llm_bot.wire.commands import ROBOT_SUBJECT

ACCEPTED = {"service": "robot", "success": True, "data": {"success": True}}


async def hear(message: Msg) -> None:
    """One command. The correlation id of what it answers is when that was published."""
    now = time.monotonic_ns()
    request = json.loads(message.data)
    if request["command"] == "say":
        LATENCIES.append(now - int(request["meta"]["request_id"]))
        HEARD[0] += 1
    await message.respond(json.dumps(ACCEPTED | {"command": request["command"]}).encode())


async def main(url: str) -> None:
    client = await nats.connect(url)
    await client.subscribe(ROBOT_SUBJECT, cb=hear)
    await client.flush()
    threading.Thread(target=answer, args=(told,), daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
