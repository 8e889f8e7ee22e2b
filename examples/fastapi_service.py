"""A web service that takes JPEG pictures of many cameras and keeps them as video, on one asyncio producer.

Install:  pip install kvspic fastapi uvicorn
Run:      uvicorn fastapi_service:app
          curl --data-binary @picture.jpg '127.0.0.1:8000/cameras/door?width=640&height=360'
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

import kvspic

streams: dict[str, kvspic.AsyncStream] = {}
opening = asyncio.Lock()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with kvspic.AsyncProducer() as producer:  # leaving it closes all streams, and waits for what they hold
        app.state.producer = producer
        yield
    streams.clear()


app = FastAPI(lifespan=lifespan)


@app.post("/cameras/{name}", status_code=202)
async def put_picture(name: str, width: int, height: int, request: Request) -> dict[str, int]:
    data = await request.body()
    if data[:2] != b"\xff\xd8":
        raise HTTPException(415, "The body is no JPEG picture.")
    async with opening:  # the first pictures of a camera may come together
        if name not in streams:
            try:
                # wait=False: pictures are kept until the stream is ready, and no request waits for AWS.
                track = kvspic.MjpegTrack(width=width, height=height)
                streams[name] = await app.state.producer.open_stream(name, track, wait=False)
            except kvspic.UsageError as error:
                raise HTTPException(422, str(error)) from error
    streams[name].put_frame(data, pts=time.time_ns())  # stored; the upload goes on by itself
    return {"frames": streams[name].report.frames_put}


@app.get("/cameras/{name}")
async def health(name: str) -> dict[str, str | bool]:
    if name not in streams:
        raise HTTPException(404, f"No picture of {name} has come yet.")
    state = streams[name].health()
    return {"is_healthy": state.is_healthy, "reason": state.reason, "report": str(streams[name].report)}
