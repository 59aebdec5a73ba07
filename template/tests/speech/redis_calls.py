"""For the tests over Redis: what it was asked, and how it hangs, or is far away."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from backend_redis import RedisServer
from redis import Redis

import speech as package

SOURCE = Path(package.__file__).parents[package.__name__.count(".") + 1]


def environ() -> dict[str, str]:
    """Of a child process that imports the package, and asks the same Redis."""
    return os.environ | {"PYTHONPATH": str(SOURCE)}


async def eventually(holds: Callable[[], bool], within_s: float = 10) -> None:
    """It comes true."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


def asked(server: RedisServer) -> int:
    """How many commands clients have sent so far, whatever scripts call themselves."""
    with Redis.from_url(server.url) as redis:
        stats = redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


@contextmanager
def nap(server: RedisServer) -> Iterator[None]:
    """It accepts, and doesn't answer."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@asynccontextmanager
async def proxied(delay_s: float) -> AsyncIterator[str]:
    """The URL of a way to REDIS_URL that takes *delay_s* more in each direction."""
    url = urlsplit(os.environ["REDIS_URL"])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(2**16):
                await asyncio.sleep(delay_s)
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(url.hostname, url.port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
