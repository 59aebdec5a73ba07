"""The stand-in as a child process, for as long as a command runs: its audio and its bill are kept apart from yours."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sandbox() -> Iterator[None]:
    """The environment points to it. Raises OSError if it doesn't start."""
    os.environ["SPEECH_ENV"] = "development"
    argv = [sys.executable, "-m", __package__ or ""]
    # In a session of its own: Ctrl-C is for us, and it must outlive what we have under way.
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # nor may it outlive us
        try:
            if not (url := next(iter(child.stdout or ()), "").strip()):
                raise OSError("the sandbox did not start")
            os.environ |= {
                "ELEVENLABS_BASE_URL": url,
                "ELEVENLABS_API_KEY": f"sandbox-key-{secrets.token_hex(8)}",
                "ELEVENLABS_API_KEY_FILE": "",
                "SPEECH_CACHE_DIR": str(Path(os.environ.get("SPEECH_CACHE_DIR") or ".speech") / "sandbox"),
            }
            yield
        finally:
            child.terminate()
