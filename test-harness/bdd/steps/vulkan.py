"""Given, When, Then: a real llama-server with Vulkan, on Mesa's driver for processors."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults.shallow_gguf import shallow

DRIVERS = Path("/usr/share/vulkan/icd.d")
LAYERS = 4
"""Of 30: a token of the whole model takes such a device most of a second."""


@given("an engine that computes with Vulkan, and a driver for it")
def vulkan_engine(world, tmp_path):
    server = os.environ.get("RBEE_TEST_VULKAN_SERVER", "")
    if not server:
        pytest.skip("device: no Vulkan, as RBEE_TEST_VULKAN_SERVER names no llama-server with it")
    installed = next(DRIVERS.glob("lvp_icd*.json"), None)
    if installed is None:
        pytest.skip("program: Mesa's Vulkan driver for processors (mesa-vulkan-drivers)")
    world.seen["driver"] = tmp_path / "driver.json"
    shutil.copy(installed, world.seen["driver"])
    few_layers = tmp_path / "few-layers.gguf"
    few_layers.write_bytes(shallow(world.home.model.read_bytes(), LAYERS))
    world.home.model = few_layers
    world.home.env.update(
        RBEE_ENGINE_PATH=server,
        VK_DRIVER_FILES=str(world.seen["driver"]),
        VK_ICD_FILENAMES=str(world.seen["driver"]),
        # Without it the engine leaves devices alone that are processors.
        GGML_VK_VISIBLE_DEVICES="0",
        LP_NUM_THREADS="1",
    )


@when("the driver of that device is gone")
def driver_gone(world):
    world.seen["driver"].rename(world.seen["driver"].with_suffix(".away"))


@when("the driver of that device is back")
def driver_back(world):
    world.seen["driver"].with_suffix(".away").rename(world.seen["driver"])


@then(parsers.parse("the worker is on {device}, with all layers"))
def on_device(world, device):
    worker = world.ready_worker()
    assert worker["device"] == device and not worker["degraded"], worker
    log = world.home.keeper("workers", "logs", worker["id"]).out
    put, of = re.search(r"offloaded (\d+)/(\d+) layers to GPU", log).groups()
    assert int(put) == int(of) == LAYERS + 1, (put, of)


@then(parsers.parse("tiny is not served any more, because of {code}"))
def not_served(world, code):
    eventually(lambda: [one["problem"] for one in world.home.workers()] == [code], within_s=30)
