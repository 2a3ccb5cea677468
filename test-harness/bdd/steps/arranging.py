"""Given: real faults and real states, arranged from outside."""

from __future__ import annotations

import subprocess

from pytest_bdd import given, parsers

from faults import files, sockets


@given("rbee serves the model tiny")
def serves_tiny(world):
    if not (world.home.path / "run" / "queen.json").exists():
        outcome = world.keeper("serve", str(world.home.file()), "--wait")
        assert outcome.code == 0, str(outcome)
    world.ready_worker()


@given(parsers.parse("rbee serves the model tiny with {flags}"))
def serves_tiny_with(world, flags):
    outcome = world.keeper("serve", str(world.home.file()), "--wait", *flags.split())
    assert outcome.code == 0, str(outcome)


@given("rbee is up")
def is_up(world):
    outcome = world.keeper("up", "--detach")
    assert outcome.code == 0, str(outcome)


@given("no rbee runs")
def nothing_runs(world):
    assert not world.home.processes()


@given("the model tiny is stored")
def tiny_is_stored(world):
    outcome = world.keeper("models", "pull", str(world.home.file()))
    assert outcome.code == 0, str(outcome)


@given(parsers.parse("the setting {name} is {value}"))
def setting(world, name, value):
    world.home.env[name] = value


@given("the configuration")
def configuration(world, docstring):
    (world.home.path / "rbee.toml").write_text(docstring)


@given(parsers.parse("a model file {name} that is {damage}"))
def damaged_file(world, name, damage):
    target = world.home.file("whole.gguf").with_name(name)
    make = {
        "cut in half": files.truncated,
        "a web page": files.bad_magic,
        "of an unknown architecture": files.unknown_architecture,
        "full of flipped bits": files.garbage,
        "computing NaN": files.not_a_number,
    }[damage]
    world.seen["file"] = str(make(world.home.model, target))


@given("another program holds a port")
def port_is_taken(world, taken):
    world.seen["port"] = taken


@given("the package index cannot be reached")
def no_index(world):
    with sockets.taken_port() as port:
        world.home.env["PIP_INDEX_URL"] = f"http://127.0.0.1:{port}/"
    world.home.env["PIP_RETRIES"] = "0"


@given("the package index sends nothing")
def silent_index(world, taken):
    world.home.env["PIP_INDEX_URL"] = f"http://127.0.0.1:{taken}/"


@given("the home of rbee is on a disk that is mounted read-only")
def read_only_home(world, mounted):
    world.home.env["RBEE_HOME"] = str(mounted)


@given("the home of rbee is a folder that nobody may change")
def immutable_home(world, immutable):
    world.home.env["RBEE_HOME"] = str(immutable)


@given("a stream is running")
def stream_is_running(world):
    from eventually import eventually

    stream = world.home.stream(max_tokens=400)
    world.streams.append(stream)
    eventually(lambda: stream.tokens > 2, within_s=20)


@given(parsers.parse("an rbee of version {version} is installed elsewhere"))
def other_version(world, version, tmp_path):
    package = subprocess.run(
        [world_python(), "-c", "import rbee; print(rbee.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(["cp", "-r", package, str(tmp_path / "rbee")], check=True)
    file = tmp_path / "rbee" / "version.py"
    text = file.read_text()
    file.write_text(text.replace('VERSION = "0.1.0"', f'VERSION = "{version}"'))
    assert version in file.read_text()
    world.seen["elsewhere"] = str(tmp_path)


def world_python() -> str:
    import sys

    return sys.executable
