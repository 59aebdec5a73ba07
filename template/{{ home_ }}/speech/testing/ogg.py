"""Opus in Ogg, at an exact bit rate, without a codec.

A 400 Hz tone repeats every 20 ms, so one packet of 80 bytes, repeated, decodes to a clean tone at 32 kbit/s.
Padding (RFC 6716, code 3) carries it to the higher rates.
"""

import math
import struct
import zlib
from collections.abc import Iterator

PACKETS_PER_SECOND = 50
TONE = bytes.fromhex(
    "f8bc2fbc423d4dafea07054748e44d6a9df6d68ea77783ea768d55a1569bf7e783a987bbdecfc1e72d37749f8878fe5a"
    "4d8174a794db519f0abee649ab3b8831b17ee777c5d92a987cacd24d2e3241b9"
)
SILENCE = b"\xf8\xff\xfe"  # the packet every encoder sends for nothing
PRE_SKIP, SAMPLES = 312, 960  # at 48 kHz: what a player drops at the start, and what one packet holds
FIRST, LAST = 2, 4
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def opus(seconds: float, kbps: int, mark: bytes, silent: bool = False) -> bytes:
    """A whole file; equal but for ``mark`` means equal sound."""
    packet = _padded(SILENCE if silent else TONE, kbps * 1000 // 8 // PACKETS_PER_SECOND)
    return b"".join(_pages(packet, round(seconds * 48000) + PRE_SKIP, mark))


def _padded(packet: bytes, size: int) -> bytes:
    if len(packet) == size:
        return packet
    room = size - len(packet) - 1  # for the padding and the bytes that say how long it is
    length = b"\xff" * ((room - 1) // 255)
    padding = room - len(length) - 1
    length += bytes([padding - 254 * len(length)])
    return bytes([packet[0] | 3, 0x41]) + length + packet[1:] + bytes(padding)


def _pages(packet: bytes, samples: int, mark: bytes) -> Iterator[bytes]:
    packets = math.ceil(samples / SAMPLES)
    serial = zlib.crc32(mark)
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 7) + b"sandbox" + struct.pack("<II", 1, 5 + len(mark)) + b"MARK=" + mark
    yield _page(FIRST, 0, serial, 0, [head])
    yield _page(0, 0, serial, 1, [tags])
    for number, start in enumerate(range(0, packets, PACKETS_PER_SECOND)):
        here = min(PACKETS_PER_SECOND, packets - start)
        end = LAST if start + here == packets else 0
        yield _page(end, min((start + here) * SAMPLES, samples), serial, number + 2, [packet] * here)


def _page(kind: int, granule: int, serial: int, number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, kind, granule, serial, number, 0) + bytes([len(lacing)]) + lacing
    page = head + b"".join(packets)
    return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def _checksum(page: bytes) -> int:
    """Ogg's CRC is zlib's with the bits mirrored, begun at 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
