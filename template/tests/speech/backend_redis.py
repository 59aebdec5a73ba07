"""What the tests need for cache_backend redis: a real server, started for them alone, empty for each test.

Where there is none they are skipped, and say so.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from redis import Redis

NO_SERVER = "needs redis-server (or valkey-server) on the path: apt-get install redis-server, or brew install redis"


def command(port: int) -> list[str]:
    """Nothing is written to disk, so that it stops and starts at once, and empty."""
    server = shutil.which("redis-server") or shutil.which("valkey-server") or pytest.skip(NO_SERVER)
    return [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


class RedisServer:
    """A server of the test's own: it may be stopped, started empty, paused."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(command(self.port), stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while self.say(b"PING") != b"+PONG":
            assert self.process.poll() is None and time.monotonic() < until, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """It accepts connections, and answers nobody."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    @asynccontextmanager
    async def far_away(self, delay_s: float) -> AsyncIterator[str]:
        """The URL of a way to it that takes *delay_s* more in each direction."""

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(2**16):
                    await asyncio.sleep(delay_s)
                    writer.write(data)
            writer.close()

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

        proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0)
        try:
            yield f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0"
        finally:
            proxy.close()

    def scripts_run(self) -> int:
        """So far, by anybody."""
        with Redis.from_url(self.url) as redis:
            return int(redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))

    def say(self, words: bytes) -> bytes:
        """The first line of its answer; empty where it does not answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(words + b"\r\n")
                return wire.recv(4096).split(b"\r\n")[0]
        except OSError:
            return b""


@pytest.fixture(scope="session", autouse=True)
def redis_server() -> Iterator[RedisServer]:
    """REDIS_URL names it, also for a service that serves many tests."""
    server = RedisServer()
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("REDIS_URL", server.url)
        yield server
    server.kill()


@pytest.fixture(autouse=True)
def backend(redis_server: RedisServer) -> RedisServer:
    redis_server.say(b"FLUSHALL")
    return redis_server
