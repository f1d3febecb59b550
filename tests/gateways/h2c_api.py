"""An API that takes HTTP/2 by `Upgrade: h2c`, as hypercorn does unless told otherwise.

Listens on the port that it is given, and writes method and path of each request that reaches it to a file.
"""

import asyncio
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

port, seen = sys.argv[1:]


async def api(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            stage = (await receive())["type"]
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return
    method = scope.get("method", "WEBSOCKET")
    with open(seen, "a") as file:
        file.write(f"{method} {scope['path']}\n")
    await receive()
    if method == "WEBSOCKET":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


config = Config()
config.bind = [f"127.0.0.1:{port}"]
asyncio.run(serve(api, config))
