"""What the tests need for cache_backend disk: a folder that is not the working directory's."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path / "speech-cache"))
