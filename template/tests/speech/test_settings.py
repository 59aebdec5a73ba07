"""The environment: right values are read, wrong ones stop the start with one line that an operator can act on."""

import re
from pathlib import Path

import pytest

import speech as package
from speech.request import Priority
from speech.settings import VARIABLES, Settings, SettingsError

KEY = "sk_0123456789abcdef0123456789abcdef"

WRONG = {
    "ELEVENLABS_API_KEY": ["two words", '"quoted"', "ünïcode", "tab\tinside"],
    "ELEVENLABS_BASE_URL": [
        "api.elevenlabs.io", "http://api.elevenlabs.io", "ftp://x", "https://", "https://u:p@host", "https://h/?a=1",
        "https://[::1", "http://127.0.0.1.evil.example",
    ],
    "SPEECH_RESIDENCY": ["mars"],
    "SPEECH_ENV": ["prod"],
    "SPEECH_MODE": ["off"],
    "SPEECH_LOG_LEVEL": ["loud"],
    "SPEECH_TIER": ["gold"],
    "SPEECH_LIMITS": [
        "12", "[]", "{", '{"tts": 3}', '{"standard": 0}', '{"standard": true}', '{"standard": 1.5}',
        '{"standard": null}', "[" * 5000, '{"standard": 1e400}',
    ],
    "SPEECH_EXTRA_MODELS": [
        '{"m": "standard"}', '{"m": {}}', '{"m": {"pool": "standard"}}', '{"m": {"like": "unheard_of"}}',
        '{"m": {"like": "eleven_v4", "price": 1}}', '{"a b": {"like": "eleven_v4"}}', '{"m": {"pool": "stt_realtime"}}',
    ],
    "SPEECH_QUALITY": ["best"],
    "SPEECH_VOICE_ID": ["../x", "short", "a" * 21],
    "SPEECH_QUEUE_SIZE": ["ten", "-1", "1.5", "1e9"],
    "SPEECH_DEFAULT_DEADLINE_S": ["0", "601", "nan", "inf", "soon"],
    "SPEECH_ATTEMPT_TIMEOUT_S": ["0", "-5", "nan"],
    "SPEECH_RESERVED_INTERACTIVE": ["nan", "-0.1", "half", "1.5"],
    "SPEECH_PROCESSES": ["0", "many"],
    "SPEECH_GRACE_S": ["-1", "inf"],
    "SPEECH_MAX_UPLOAD_MB": ["0", "5001"],
    "SPEECH_DEGRADE": ["yes"],
    "SPEECH_CACHE_MAX_MB": ["-1", "lots"],
    "SPEECH_CACHE_TTL_S": ["-1", "day"],
    "SPEECH_CACHE_STALE_S": ["-1", "nan"],
    "SPEECH_CACHE_SCOPE": ["all"],
    "REDIS_URL": ["localhost:6379", "http://x"],
    "SPEECH_CLIENT_KEYS": [
        "nameless", "a:short", "a:0123456789abcdef,", ":0123456789abcdef", "a b:0123456789abcdef",
        "admin:your_admin_client_key_here", "a:0123456789abcdef,b:0123456789abcdef", "a:0123456789 abcdef",
    ],
    "SPEECH_CALLERS": [
        "[]", '{"t": 5}', '{"t": {"daily": 5}}', '{"t": {"daily_usd": -1}}', '{"t": {"concurrency": 0}}',
        '{"t": {"max_priority": "high"}}', '{"t": {"daily_usd": true}}',
    ],
    "SPEECH_DAILY_BUDGET_USD": ["-1", "nan", "$5"],
    "SPEECH_MONTHLY_BUDGET_USD": ["-0.01", "much"],
}  # fmt: skip
ANYTHING_GOES = {"SPEECH_CACHE_DIR", "SPEECH_RUN_DIR"}


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(environ)
    return str(refused.value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line_that_names_it(name: str, value: str) -> None:
    """Which variable, and what is allowed; what was given too, but for secrets."""
    line = refusal(**{name: value})
    assert re.match(rf"{name} is .+; allowed: .+", line)
    assert "\n" not in line
    if VARIABLES[name].metadata["secret"]:
        assert value not in line
    elif len(value) < 60 and "@" not in value:
        assert repr(value) in line


def test_every_variable_has_a_wrong_value_here() -> None:
    """A new variable can't come without saying what is allowed."""
    assert WRONG.keys() | ANYTHING_GOES == VARIABLES.keys()


def test_several_wrong_values_are_all_named_at_once() -> None:
    """A line each: nobody has to start it five times."""
    lines = refusal(SPEECH_TIER="gold", SPEECH_ENV="prod", SPEECH_QUEUE_SIZE="ten").splitlines()
    assert [line.split()[0] for line in lines] == ["SPEECH_ENV", "SPEECH_TIER", "SPEECH_QUEUE_SIZE"]


@pytest.mark.parametrize("name", ["SPEECH_VOICE_ID", "ELEVENLABS_BASE_URL", "SPEECH_LIMITS"])
def test_a_key_in_the_wrong_variable_is_not_shown(name: str) -> None:
    """People paste into the wrong line; logs are forever."""
    assert KEY not in refusal(**{name: KEY})


def test_a_password_in_an_address_is_not_shown() -> None:
    """It is refused, and stays a secret."""
    assert "hunter2" not in refusal(ELEVENLABS_BASE_URL="https://me:hunter2@host")


def test_secrets_are_in_no_repr() -> None:
    """An error tracker may print it."""
    settings = Settings.from_env(
        {"ELEVENLABS_API_KEY": KEY, "SPEECH_CLIENT_KEYS": f"web:{KEY}x", "REDIS_URL": "redis://:hunter2@host"}
    )
    assert KEY not in repr(settings) and "hunter2" not in repr(settings)
    assert {KEY, f"{KEY}x", "hunter2"} <= set(settings.secrets)


@pytest.mark.parametrize("name", sorted(n for n, variable in VARIABLES.items() if variable.metadata["secret"]))
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    """As Docker and Kubernetes mount them; the line end is not part of it. Both at once is refused."""
    value = {"SPEECH_CLIENT_KEYS": f"web:{KEY}", "REDIS_URL": "redis://host"}.get(name, KEY)
    (tmp_path / "secret").write_text(f"{value}\n")
    twin = {f"{name}_FILE": str(tmp_path / "secret")}
    assert Settings.from_env(twin) == Settings.from_env({name: value}) != Settings.from_env({})
    assert f"{name}_FILE is set too" in refusal(**twin, **{name: value})
    assert "can't be read" in refusal(**{f"{name}_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize("key", ["your_elevenlabs_key_here", "acme_production_your_key_here"])
def test_a_placeholder_is_no_key(key: str) -> None:
    """The service starts, as without one, and is never ready."""
    assert Settings.from_env({"ELEVENLABS_API_KEY": key}).api_key == ""


def test_values_are_read() -> None:
    """Each kind of value, once."""
    settings = Settings.from_env(
        {
            "ELEVENLABS_API_KEY": f" {KEY} ",
            "SPEECH_ENV": "Staging",
            "SPEECH_LIMITS": '{"standard": 40}',
            "SPEECH_CACHE_MAX_MB": "10",
            "SPEECH_CLIENT_KEYS": "web:0123456789abcdef, web:fedcba9876543210,admin:a,b".replace(",b", "b" * 16),
            "SPEECH_CALLERS": '{"tenant-7": {"daily_usd": 5, "concurrency": 3, "max_priority": "normal"}, "x": {}}',
            "SPEECH_QUALITY": "",
        }
    )
    assert (settings.api_key, settings.env, settings.quality) == (KEY, "staging", None)
    assert settings.plan["standard"] == 40
    assert settings.cache_max_bytes == 10_000_000
    assert [name for name, _ in settings.client_keys] == ["web", "web", "admin"]
    assert settings.callers["tenant-7"].daily_usd == 5 and settings.callers["tenant-7"].concurrency == 3
    assert settings.callers["tenant-7"].max_priority is Priority.NORMAL
    assert settings.callers["x"].max_priority is Priority.INTERACTIVE


def test_the_base_url_goes_before_the_residency() -> None:
    """A sandbox or proxy that is named is meant."""
    eu = {"SPEECH_RESIDENCY": "eu"}
    assert Settings.from_env(eu).base_url == "https://api.eu.residency.elevenlabs.io"
    assert Settings.from_env(eu | {"ELEVENLABS_BASE_URL": "http://127.0.0.1:1/"}).base_url == "http://127.0.0.1:1"


def test_a_model_newer_than_this_code_needs_no_update() -> None:
    """As another one is, or with numbers of its own; a known one may be corrected."""
    models = Settings.from_env(
        {
            "SPEECH_EXTRA_MODELS": '{"eleven_v5": {"like": "eleven_v4", "usd_per_1000_characters": 0.5},'
            '"new": {"pool": "flash", "max_characters": 9, "usd_per_1000_characters": 1, "credits_per_character": 0.5},'
            '"scribe_v9": {"pool": "stt", "usd_per_hour": 1}, "eleven_v4_turbo": {"pool": "flash"}}'
        }
    ).extra_models
    assert (models["eleven_v5"].pool, models["eleven_v5"].usd(1000), models["eleven_v5"].credits(10)) == (
        "standard", 0.5, 10,
    )  # fmt: skip
    assert (models["new"].kind, models["new"].max_characters, models["new"].credits(9)) == ("tts", 9, 5)
    assert (models["scribe_v9"].kind, models["scribe_v9"].usd_for(3600)) == ("stt", 1)
    assert models["eleven_v4_turbo"].pool == "flash"


@pytest.mark.parametrize(
    "environ",
    [
        {"SPEECH_DAILY_BUDGET_USD": "5"},
        {"SPEECH_MONTHLY_BUDGET_USD": "0"},
        {"SPEECH_CALLERS": '{"t": {"daily_usd": 5}}'},
    ],
)
@pytest.mark.parametrize("env", ["production", "staging", "development"])
def test_a_budget_needs_a_ledger_that_survives(environ: dict[str, str], env: str) -> None:
    """In memory it would begin anew with every restart."""
    settings = Settings.from_env(environ | {"SPEECH_ENV": env})
    settings.check("disk")
    if env == "development":
        settings.check("memory")
    else:
        with pytest.raises(SettingsError, match=r"^SPEECH_ENV .*budget.*; allowed: [^\n]*$"):
            settings.check("memory")


def test_more_processes_than_slots_are_refused() -> None:
    """Each would have to break the plan, or do nothing."""
    Settings(tier="creator", processes=5).check("memory")
    with pytest.raises(SettingsError, match="SPEECH_PROCESSES is 6.*pool standard has 5.*allowed: .*1 to 5"):
        Settings(tier="creator", processes=6).check("memory")
    Settings(tier="creator", processes=6, limits={"standard": 6}).check("memory")
    Settings(tier="creator", processes=6).check("disk")  # there, they share


def example() -> dict[str, str]:
    """What ``.env.example`` says, commented out or not."""
    here = Path(package.__file__)
    places = (here.parent / ".env.example", here.parents[3] / ".env.example")
    text = next(place for place in places if place.is_file()).read_text("utf-8")
    return dict(re.findall(r"^#? ?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_example_names_every_variable() -> None:
    """No more and no less."""
    assert example().keys() == VARIABLES.keys()


def test_the_example_tells_the_defaults() -> None:
    """A line that is commented out shows what holds anyway."""
    defaults = Settings()
    shown = {name: text for name, text in example().items() if text and not VARIABLES[name].metadata["secret"]}
    assert len(shown) > 10
    for name, text in shown.items():
        assert VARIABLES[name].metadata["kind"].read(text) == getattr(defaults, VARIABLES[name].name), name


def test_only_secrets_have_a_twin() -> None:
    """The three of the contract."""
    twins = {f"{name}_FILE" for name, variable in VARIABLES.items() if variable.metadata["secret"]}
    assert twins == {"ELEVENLABS_API_KEY_FILE", "SPEECH_CLIENT_KEYS_FILE", "REDIS_URL_FILE"}
