"""A tone as MP3 at every bit rate on offer, without an encoder.

One MDCT coefficient, the same in every granule, is a pure tone, and Huffman table 1 says it in three or four bits.
"""

KBPS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {44100: (1, 0), 48000: (1, 1), 32000: (1, 2), 22050: (2, 0), 24000: (2, 1), 16000: (2, 2)}
SAMPLES = {1: 1152, 2: 576}  # in one frame, by MPEG version
GAIN = 204  # about -12 dBFS


def mp3(seconds: float, rate: int, kbps: int, hz: float, mark: bytes, silent: bool = False) -> bytes:
    """A whole file: an ID3 tag that holds ``mark``, then frames of one tone (or of nothing)."""
    version, _ = RATES[rate]
    body = b"" if silent else _tone(version, rate, hz)
    frames = (_frame(rate, kbps, 0, body), _frame(rate, kbps, 1, body))
    per_second = SAMPLES[version] // 8 * 1000 * kbps  # bytes of a frame, times the rate
    out, owed = [_tag(mark)], 0
    for _ in range(max(1, round(seconds * rate / SAMPLES[version]))):
        owed += per_second % rate
        padded, owed = divmod(owed, rate)
        out.append(frames[padded])
    return b"".join(out)


def _tag(mark: bytes) -> bytes:
    text = b"\x00sandbox " + mark
    frame = b"TSSE" + len(text).to_bytes(4, "big") + b"\0\0" + text
    return b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame)]) + frame


def _frame(rate: int, kbps: int, padded: int, body: bytes) -> bytes:
    version, code = RATES[rate]
    kind = 0xFFFB0000 if version == 1 else 0xFFF30000
    head = kind | (KBPS[version].index(kbps) + 1) << 12 | code << 10 | padded << 9 | 0xC4
    size = SAMPLES[version] // 8 * 1000 * kbps // rate + padded
    return head.to_bytes(4, "big") + body[: size - 4].ljust(size - 4, b"\0")


def _tone(version: int, rate: int, hz: float) -> bytes:
    """Side information and main data of a frame that holds one spectral line (rate / 1152 Hz wide)."""
    granules, side_bits, side_bytes = (2, 18, 17) if version == 1 else (1, 9, 9)
    line = max(0, round(hz * 1152 / rate - 0.5))
    pairs = line // 2 + 1
    data = "1" * (pairs - 1) + ("0010" if line % 2 else "010")  # (0,0) until the pair that holds the line, sign +
    side = f"{len(data):012b}{pairs:09b}{GAIN:08b}" + "0" * (5 if version == 1 else 10) + "00001" * 3 + "0" * 7
    side += "000" if version == 1 else "00"
    bits = "0" * side_bits + side * granules + data * granules
    room = side_bytes + 16 + pairs
    return int(bits.ljust(8 * room, "0"), 2).to_bytes(room, "big")
