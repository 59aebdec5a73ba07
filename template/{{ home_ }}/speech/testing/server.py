"""HTTP/1.1 on asyncio and h11: keep-alive, expect-continue, chunked uploads and answers.

A client that leaves cancels its handler at once, wherever that one waits: so a slot held there is given back.
"""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11

BODY_MAX = 256 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Connection(asyncio.Protocol):
    """One client: its requests one after another, and the way to answer the present one."""

    def __init__(self, handler: "Handler", open_ones: "set[Connection]") -> None:
        self._handler, self._open_ones = handler, open_ones
        self._http = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    # what the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_ones.add(self)

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> None:
        self.tear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        self._writable.set()
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # from bytes to requests

    def _advance(self) -> None:
        try:
            while self._next():
                pass
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.reply(error.error_status_hint, {"detail": f"There was an error parsing the request: {error}"})
            self._transport.close()

    def _next(self) -> bool:
        """Take one event; false when there is nothing to take until more arrives or the answer is out."""
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            self._head, self._body = event, bytearray()
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > BODY_MAX:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage):
            self._task = asyncio.get_running_loop().create_task(self._serve())
        elif event is h11.NEED_DATA and self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        return isinstance(event, h11.Request | h11.Data)

    async def _serve(self) -> None:
        try:
            await self._handler(self._request(), self)
        finally:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE, h11.SEND_BODY):
                self.tear()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._advance()
        else:
            self._transport.close()

    def _request(self) -> Request:
        assert self._head is not None
        target = urlsplit(self._head.target.decode("latin-1"))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._head.headers}
        body, self._body = bytes(self._body), bytearray()
        return Request(self._head.method.decode(), target.path, parse_qs(target.query), headers, body)

    # the answer

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers; the body follows in chunks unless a length is given."""
        self._send(h11.Response(status_code=status, headers=list(headers.items())))

    async def write(self, data: bytes) -> None:
        """One piece of the body; waits while the client reads too slowly."""
        self._send(h11.Data(data=data))
        await self._writable.wait()

    def finish(self, data: bytes = b"") -> None:
        """The last piece and the end, in one breath."""
        if data:
            self._send(h11.Data(data=data))
        self._send(h11.EndOfMessage())

    def reply(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer: JSON, or a page where ``body`` is text."""
        kind = "text/html" if isinstance(body, str) else "application/json"
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.start(status, {"content-type": kind, "content-length": str(len(data)), **(headers or {})})
        self.finish(data)

    def reset(self) -> None:
        """Tear the connection down, so that the client sees a reset and no clean end."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.tear()

    def tear(self) -> None:
        self._transport.abort()

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)


Handler = Callable[[Request, Connection], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback only, port 0 takes any free one; gives the address, and tears what is open on the way out."""
    open_ones: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(handler, open_ones), "127.0.0.1", port, backlog=1024)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for connection in open_ones:
            connection.tear()
