"""The HTTP of the sandbox, spoken to by hand: what clients do on the wire beside plain requests."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from sandbox_calls import TALIA

from speech.testing.plugin import SandboxThread

BODY = b'{"text": "hello"}'
ASK = f"POST /v1/text-to-speech/{TALIA} HTTP/1.1\r\nhost: x\r\nxi-api-key: any\r\n".encode()
STATE = b"GET /__sandbox/state HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def wire(speech_sandbox: SandboxThread) -> Iterator[socket.socket]:
    where = urlsplit(speech_sandbox.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as open_one:
        yield open_one


def read_until(wire: socket.socket, end: bytes) -> bytes:
    """Everything up to and with ``end``; what came before a closed connection where it never comes."""
    got = b""
    while end not in got and (more := wire.recv(65536)):
        got += more
    return got


def test_a_client_that_asks_first_is_told_to_go_on(wire: socket.socket) -> None:
    wire.sendall(ASK + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(BODY))
    assert read_until(wire, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
    wire.sendall(BODY)
    assert read_until(wire, b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_chunked_upload_is_read_whole(wire: socket.socket, speech_sandbox: SandboxThread) -> None:
    wire.sendall(ASK + b"transfer-encoding: chunked\r\n\r\n")
    for byte in BODY:
        wire.sendall(b"1\r\n%c\r\n" % byte)
    wire.sendall(b"0\r\n\r\n")
    assert b"character-cost: 5\r\n" in read_until(wire, b"\r\n0\r\n\r\n")


def test_one_connection_carries_many_requests(wire: socket.socket) -> None:
    """Sent one behind the other without waiting, too."""
    wire.sendall(ASK + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + STATE)
    answers = read_until(wire, b'"calls"')
    assert answers.count(b"HTTP/1.1 200") == 2


def test_a_client_may_ask_for_a_close(wire: socket.socket) -> None:
    wire.sendall(STATE.replace(b"host: x", b"host: x\r\nconnection: close"))
    answer = read_until(wire, b"no such bytes")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["calls"] == 0


@pytest.mark.parametrize(
    "nonsense", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]
)
def test_what_is_not_http_gets_400_and_a_closed_door(wire: socket.socket, nonsense: bytes) -> None:
    wire.sendall(nonsense)
    assert read_until(wire, b"no such bytes").startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing(
    wire: socket.socket, speech_sandbox: SandboxThread
) -> None:
    wire.sendall(ASK + b"content-length: 100\r\n\r\n{")
    wire.close()
    assert speech_sandbox.state()["calls"] == 0
