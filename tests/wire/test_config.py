"""The configuration as a person writes it."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.settings import KEEP_ALWAYS, Bounds, Settings, Timing
from rbee.wire.config import VARIABLES, Config, read_config

WHOLE = """
listen = "127.0.0.1:9000"
origins = ["loopback", "https://chat.example"]
models_dir = "/big/models"
[engine]
backend = "cpu"
path = "/opt/llama-server"
[defaults]
keep_alive = "10m"
device = "cpu"
fallback = false
replicas = 2
ctx = 4096
parallel = 8
[models.coder]
source = ["file:///a.gguf", "file:///b.gguf"]
aliases = ["gpt-4o-mini"]
args = ["--flash-attn", "on"]
params = { temperature = 0.2, min_p = 0.05 }
keep_alive = "always"
ctx = "auto"
[limits]
queue = 5
queue_wait = "30s"
stall = "20s"
total = "none"
disk_reserve = "2GiB"
"""


def read(text: str = "", **layers: Any) -> Config:
    return read_config(home="/home/rbee", text=text, **layers)


def refused(text: str = "", **layers: Any) -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        read(text, **layers)
    assert caught.value.code == "CONFIG_INVALID"
    return caught.value


def test_no_file_is_needed() -> None:
    """Without anything said, everything is the default."""
    assert read().settings == Settings(home="/home/rbee")
    assert read().origins == {}


def test_every_key_is_read() -> None:
    """Each key of the file reaches its setting."""
    found = read(WHOLE).settings
    assert (found.host, found.port) == ("127.0.0.1", 9000)
    assert found.origins == ("loopback", "https://chat.example")
    assert found.models_dir == "/big/models"
    assert (found.engine_backend, found.engine_path) == ("cpu", "/opt/llama-server")
    assert found.defaults.keep_alive_s == 600
    assert found.defaults.replicas == 2
    coder = found.models["coder"]
    assert coder.source == ("file:///a.gguf", "file:///b.gguf")
    assert coder.aliases == ("gpt-4o-mini",)
    assert coder.args == ("--flash-attn", "on")
    assert dict(coder.params) == {"temperature": 0.2, "min_p": 0.05}
    assert found.limits.queue == 5
    assert found.limits.queue_wait_s == 30
    assert found.limits.total_s == 0
    assert found.limits.disk_reserve_bytes == 2 << 30


def test_a_model_inherits_the_defaults_and_overrides_them() -> None:
    """`[defaults]` holds for every model that does not say otherwise."""
    coder = read(WHOLE).settings.models["coder"]
    assert coder.name == "coder"
    assert coder.parallel == 8
    assert coder.fallback is False
    assert coder.ctx == 0
    assert coder.keep_alive_s == KEEP_ALWAYS


def test_a_flag_wins_over_the_environment_and_that_over_the_file() -> None:
    """Order: flag, environment, file; and each value knows where it comes from."""
    config = read(
        WHOLE, environment={"RBEE_PORT": "9001", "RBEE_LIMITS_QUEUE": "0"}, flags={"port": "9002"}
    )
    assert config.settings.port == 9002
    assert config.settings.limits.queue == 0
    assert config.origin("listen") == "rbee.toml, --port"
    assert config.origin("port") == "--port"
    assert config.origin("limits.queue") == "RBEE_LIMITS_QUEUE"
    assert config.origin("limits.stall") == "rbee.toml"
    assert config.origin("threads") == "default"


def test_the_chosen_engine_yields_to_the_file() -> None:
    """`rbee engine use` holds unless the file says another."""
    config = read(chosen_engine="/chosen")
    assert config.settings.engine_path == "/chosen"
    assert config.origin("engine.path") == "rbee engine use"
    assert read(WHOLE, chosen_engine="/chosen").settings.engine_path == "/opt/llama-server"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("listn = ':1'", "listen"),
        ("[limit]\nqueue = 1", "limits"),
        ("[limits]\nqueue_wai = '1s'", "queue_wait"),
        ("[models.a]\nsorce = 'x'", "source"),
        ("[defaults]\nkeepalive = '1s'", "keep_alive"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, nearest: str) -> None:
    """A slip of the pen is told, with what was probably meant."""
    assert f"nearest: {nearest}" in refused(text).report.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("listen = 7833", "listen"),
        ("listen = 'localhost'", "listen"),
        ("listen = '127.0.0.1:70000'", "listen"),
        ("listen = '::1:7833'", "listen"),
        ("origins = 'x'", "origins"),
        ("origins = [1]", "origins"),
        ("engine = 1", "engine"),
        ("[engine]\nbackend = 'gpu'", "engine.backend"),
        ("[limits]\nqueue = -1", "limits.queue"),
        ("[limits]\nqueue = true", "limits.queue"),
        ("[limits]\nqueue_wait = 60", "limits.queue_wait"),
        ("[limits]\nqueue_wait = '60'", "limits.queue_wait"),
        ("[limits]\nstall = '0s'", "limits.stall"),
        ("[limits]\ndisk_reserve = '5 apples'", "limits.disk_reserve"),
        ("[defaults]\nreplicas = 0", "defaults.replicas"),
        ("[defaults]\nctx = 'much'", "defaults.ctx"),
        ("[defaults]\nfallback = 'yes'", "defaults.fallback"),
        ("[defaults]\nparams = { at = 2020-01-01 }", "defaults.params"),
        ("[defaults]\nparams = { t = nan }", "defaults.params"),
        ("[models]\na = 1", "models.a"),
        ("[models.'']\nctx = 1", "models."),
        ("x = [", "rbee.toml"),
        ("a = " + "[" * 3000, "rbee.toml"),
    ],
)
def test_a_bad_value_names_its_place(text: str, place: str) -> None:
    """What is wrong is told with the key that is wrong."""
    assert place in refused(text).report.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RBEE_PORT", "x"),
        ("RBEE_DRAIN_S", "soon"),
        ("RBEE_DEFAULTS_PARAMS", "{"),
        ("RBEE_NESTING", "0"),
    ],
)
def test_a_bad_variable_names_itself(variable: str, value: str) -> None:
    """The environment is told apart from the file."""
    assert refused(environment={variable: value}).report.message.startswith(variable)


def test_one_name_leads_to_one_model() -> None:
    """Two models cannot share an alias."""
    text = "[models.a]\naliases = ['x']\n[models.b]\naliases = ['x']"
    assert "already leads to a" in refused(text).report.message


def test_every_limit_can_be_set_by_a_variable() -> None:
    """A scenario can shorten every limit: RBEE_ and the field's name in capitals."""
    for kind, group in ((Timing, "timing"), (Bounds, "bounds")):
        for name in kind.__slots__:
            config = read(environment={f"RBEE_{name.upper()}": "7"})
            assert getattr(getattr(config.settings, group), name) == 7
    for variable in ("RBEE_LIMITS_QUEUE", "RBEE_LIMITS_QUEUE_WAIT_S", "RBEE_DEFAULTS_KEEP_ALIVE_S"):
        assert variable in VARIABLES


def test_a_rate_may_be_none_at_all() -> None:
    """No retries is a choice; no connections would be none."""
    found = read(environment={"RBEE_RETRIES_PER_MINUTE": "0"})
    assert found.settings.bounds.retries_per_minute == 0
    assert refused(environment={"RBEE_CONNECTIONS": "0"}).code == "CONFIG_INVALID"


def test_a_variable_that_sets_nothing_is_told() -> None:
    """RBEE_HOME and RBEE_URL are no settings, RBEE_DRIAN_S is a slip."""
    environment = {"RBEE_HOME": "/x", "RBEE_URL": "u", "RBEE_DRIAN_S": "2", "PATH": "/bin"}
    assert read(environment=environment).unknown_variables == ("RBEE_DRIAN_S",)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """A stranger's file gives settings or CONFIG_INVALID, never another exception."""
    try:
        read(text)
    except RbeeError as error:
        assert error.code == "CONFIG_INVALID"
        assert error.report.exit == 2


@settings(max_examples=200)
@given(st.sampled_from(sorted(VARIABLES)), st.text(max_size=40))
def test_any_variable_is_read_or_refused(variable: str, value: str) -> None:
    """The same holds for the environment."""
    try:
        read(environment={variable: value})
    except RbeeError as error:
        assert error.code == "CONFIG_INVALID"


@settings(max_examples=200)
@given(
    st.sampled_from(["limits.queue", "defaults.ctx", "models.m.source", "listen", "engine.path"]),
    _values,
)
def test_any_value_is_read_or_refused(place: str, value: Any) -> None:
    """The same holds for every kind of value at a known key."""
    text = f"{place} = {_toml(value)}"
    try:
        tomllib.loads(text)
    except ValueError:
        return
    try:
        read(text)
    except RbeeError as error:
        assert error.code == "CONFIG_INVALID"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_toml(str(name))} = {_toml(one)}" for name, one in value.items())
            + "}"
        )
    if isinstance(value, str):
        return '"' + "".join(letter for letter in value if letter.isalnum()) + '"'
    return str(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a" + ".a" * 50_000 + " = 1", "key in line 1"),
        ("\n\n[models" + ".a" * 50_000 + "]", "key in line 3"),
        ("limits.queue = 1" + "0" * 5000, "too many digits"),
        ("x = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_python_cannot_bear_is_refused(text, words):
    """Keys and numbers without an end: minutes of work, or an error that is not TOML's. (fuzz)"""
    with pytest.raises(RbeeError, match="CONFIG_INVALID") as caught:
        read_config(home="/h", text=text, environment={}, flags={})

    assert words in str(caught.value)
