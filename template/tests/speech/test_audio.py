"""What the sandbox speaks can be played, lasts as long as the text, and is the same every time."""

import io
import struct
import wave

import pytest
from tinytag import TinyTag

from speech.catalogue import CATALOGUE
from speech.testing.audio import seconds_of, speak

OFFERED = [name for name, spec in CATALOGUE["formats"].items() if spec.get("offer", True)]
MP3 = [name for name in OFFERED if name.startswith("mp3")]
OPUS = [name for name in OFFERED if name.startswith("opus")]
PCM = [name for name in OFFERED if name.startswith("pcm")]
WAV = [name for name in OFFERED if name.startswith("wav")]
KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000)}


def frames(data: bytes) -> list[tuple[int, int, int]]:
    """Rate, kbit/s and samples of every MPEG frame after the ID3 tag; fails where one does not start right."""
    at = 10 + data[9]
    found = []
    while at < len(data):
        head = int.from_bytes(data[at : at + 4], "big")
        version = head >> 19 & 3
        assert head >> 21 == 0x7FF and version in RATES and head >> 17 & 3 == 1, f"no frame at byte {at}"
        rate, kbps = RATES[version][head >> 10 & 3], KBPS[version][head >> 12 & 15]
        samples = 1152 if version == 3 else 576
        at += samples // 8 * kbps * 1000 // rate + (head >> 9 & 1)
        found.append((rate, kbps, samples))
    assert at == len(data), "the last frame is cut"
    return found


def pages(data: bytes) -> list[tuple[int, int, list[bytes]]]:
    """Kind, granule position and packets of every Ogg page, each with a checksum computed the slow way."""
    at, found = 0, []
    while at < len(data):
        magic, kind, granule, _, _, checksum, count = struct.unpack_from("<4sxBqIIIB", data, at)
        lacing, body = data[at + 27 : at + 27 + count], at + 27 + count
        end = body + sum(lacing)
        assert magic == b"OggS" and checksum == ogg_crc(data[at : at + 22] + bytes(4) + data[at + 26 : end])
        packets: list[bytes] = []
        packet = b""
        for size in lacing:
            packet, body = packet + data[body : body + size], body + size
            if size < 255:
                packets, packet = [*packets, packet], b""
        found.append((kind, granule, packets))
        at = end
    return found


def ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("name", MP3)
def test_mp3_is_whole_frames_at_exactly_the_rate_and_bits_it_was_asked_for(name: str) -> None:
    _, rate, kbps = name.split("_")
    sound = speak(name, 2.0, "hello")
    found = frames(sound)
    assert {entry[:2] for entry in found} == {(int(rate), int(kbps))}
    samples = sum(samples for *_, samples in found)
    assert samples / int(rate) == pytest.approx(2.0, abs=0.03)
    assert len(sound) - 10 - sound[9] == samples * int(kbps) * 125 // int(rate)


@pytest.mark.parametrize("name", MP3)
def test_a_tag_reader_tells_the_same_length_of_an_mp3(name: str) -> None:
    tag = TinyTag.get(filename="x.mp3", file_obj=io.BytesIO(speak(name, 3.0, "hello")))
    assert tag.duration == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("name", MP3 + OPUS)
def test_a_byte_count_is_its_bit_rate(name: str) -> None:
    """Twice the length is twice the bytes: tags and pages aside, nothing is padded."""
    short, long = len(speak(name, 5.0, "hello")), len(speak(name, 10.0, "hello"))
    assert (long - short) / 5 == pytest.approx(int(name.split("_")[-1]) * 125, rel=0.02)


@pytest.mark.parametrize("name", OPUS)
def test_opus_is_ogg_with_right_checksums_and_packets_of_one_size(name: str) -> None:
    head, tags, *sound = pages(speak(name, 1.5, "hello"))
    assert head[0] == 2 and head[2][0].startswith(b"OpusHead") and tags[2][0].startswith(b"OpusTags")
    assert sound[-1][0] == 4 and sound[-1][1] - 312 == 1.5 * 48000
    assert {len(packet) for _, _, packets in sound for packet in packets} == {int(name.split("_")[-1]) * 1000 // 400}


@pytest.mark.parametrize("name", PCM)
def test_pcm_is_exact_to_the_sample_and_can_be_heard(name: str) -> None:
    sound = speak(name, 0.5, "hello")
    samples = struct.unpack(f"<{len(sound) // 2}h", sound)
    assert len(samples) == round(0.5 * int(name.split("_")[1]))
    assert max(samples) > 0.2 * 32768 and min(samples) < -0.2 * 32768


@pytest.mark.parametrize("name", WAV)
def test_wav_says_its_own_size(name: str) -> None:
    sound = speak(name, 0.5, "hello")
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == int(name.split("_")[1])
        assert len(sound) == 44 + 2 * file.getnframes()


@pytest.mark.parametrize(("name", "zero"), [("ulaw_8000", 0xFF), ("alaw_8000", 0xD5)])
def test_telephone_formats_are_a_byte_a_sample(name: str, zero: int) -> None:
    assert len(speak(name, 0.5, "hello")) == 4000
    assert set(speak(name, 0.5, "hello", silent=True)) == {zero}


@pytest.mark.parametrize("name", OFFERED)
def test_equal_requests_sound_the_same_and_others_differ(name: str) -> None:
    assert speak(name, 1.0, "one") == speak(name, 1.0, "one")
    assert speak(name, 1.0, "one") != speak(name, 1.0, "another")


@pytest.mark.parametrize("name", OFFERED)
def test_silence_is_as_long_as_speech_would_be(name: str) -> None:
    assert len(speak(name, 1.0, "one", silent=True)) == len(speak(name, 1.0, "one"))


@pytest.mark.parametrize(
    ("text", "speed", "seconds"),
    [
        ("x" * 150, 1.0, 10.0),
        ("x" * 150, 1.2, 10.0 / 1.2),
        ("こんにちは世界さん"[:8], 1.0, 1.0),
        ("مرحبامرحبا"[:8], 1.0, 1.0),
        ("[laughs] <break time='1s'/>" + "x" * 30, 1.0, 2.0),
        ("  \n ", 1.0, 0.235),
        ("x" * 44_000, 1.0, 900.0),
    ],
)
def test_length_follows_what_is_spoken(text: str, speed: float, seconds: float) -> None:
    """15 characters a second, 8 in Chinese, Japanese, Korean and Arabic; no tags, and never over 15 minutes."""
    assert seconds_of(text, speed) == pytest.approx(seconds)
