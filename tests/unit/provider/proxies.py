"""An HTTP proxy on loopback that makes tunnels, as a test says; it resolves the names itself."""

import asyncio
import contextlib

__all__ = ["proxy"]


@contextlib.asynccontextmanager
async def proxy(targets, *, tls=None, authorization="", answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """``targets`` maps an authority to the port of loopback that it leads to. Gives the URL and the requests seen."""
    seen, tasks, writers = [], set(), []

    async def pump(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            seen.append(head)
            method, authority, _ = head.split("\r\n")[0].split(" ")
            if authorization and f"Proxy-Authorization: {authorization}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            elif method != "CONNECT" or authority not in targets:
                writer.write(b"HTTP/1.1 403 Filtered\r\nContent-Length: 4\r\n\r\nnope")
            else:
                inner, outer = await asyncio.open_connection("127.0.0.1", targets[authority])
                writers.append(outer)
                writer.write(answer)
                await asyncio.gather(pump(reader, outer), pump(inner, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        for _ in range(3):  # aborted transports close their sockets in the loop's next rounds
            await asyncio.sleep(0)
