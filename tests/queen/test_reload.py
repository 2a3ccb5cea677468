"""Promises about an rbee.toml that is changed while rbee runs, over the real control socket."""

import asyncio

from rbee.edge.config_file import load_settings
from rbee.edge.config_watch import ConfigWatch
from rbee.edge.home import Home
from rbee.queen.reload import Reload
from rbee.wire import control
from tests.eventually import soon
from tests.queen.stage import MODEL
from tests.queen.test_core import met

ALWAYS = f'[models."{MODEL}"]\nkeep_alive = "always"\n'


def _following(here, tmp_path):
    """The file of this home, followed by the core, from the settings that hold now."""
    home = Home(tmp_path)
    core = here.core
    core.settings = load_settings(home)
    core.models.follow(core.settings)
    reload = Reload(core, ConfigWatch(home, core.settings), lambda *_, **__: None)
    return home, asyncio.create_task(reload.keep())


async def _wish(hive):
    async with asyncio.timeout(5):
        return (await hive.hear(control.Want)).wish


def test_a_model_that_is_to_stay_loaded_is_wanted_at_once(tmp_path):
    """And another context of it is another wish; an equal block says nothing."""

    async def story():
        async with met(tmp_path) as (here, hive):
            home, following = _following(here, tmp_path)
            home.config.write_text(ALWAYS)
            first = await _wish(hive)
            assert (first.name, first.keep_alive_s, first.ctx) == (MODEL, -1.0, 0)
            home.config.write_text(ALWAYS + "ctx = 64\n[limits]\nqueue = 5\n")
            second = await _wish(hive)
            assert second.ctx == 64
            assert here.core.lanes.queue_limit == 5
            home.config.write_text(ALWAYS + "ctx = 64\n[limits]\nqueue = 6\n")
            await soon(lambda: here.core.lanes.queue_limit == 6)
            assert here.core.wishes.all() == (second,)
            following.cancel()

    asyncio.run(story())


def test_a_block_that_was_changed_is_newer_than_what_serve_said(tmp_path):
    """The last word of a person holds, whichever way it was said."""

    async def story():
        async with met(tmp_path) as (here, hive):
            home, following = _following(here, tmp_path)
            served = here.core.models.find(MODEL, here.core.roster.models)
            wish = control.ModelWish(MODEL, served.ref, ctx=128, keep_alive_s=-1.0)
            here.core.serve(wish)
            assert (await _wish(hive)).ctx == 128
            home.config.write_text("[limits]\nqueue = 5\n")
            await soon(lambda: here.core.lanes.queue_limit == 5)
            assert here.core.wishes.all() == (wish,)
            home.config.write_text(f'[models."{MODEL}"]\nctx = 64\n')
            again = await _wish(hive)
            assert (again.ctx, again.keep_alive_s) == (64, 300.0)
            assert here.core.wishes.lasting() == ()
            following.cancel()

    asyncio.run(story())


def test_a_mistake_in_the_file_changes_nothing_and_is_told(tmp_path):
    """Once, as an event that needs a person, until the file can be read again."""

    async def story():
        async with met(tmp_path) as (here, _hive):
            home, following = _following(here, tmp_path)
            before = here.core.settings
            home.config.write_text("[limits]\nqueu = 5\n")
            await soon(lambda: here.core.events.recent(code="CONFIG_INVALID", job=""))
            (told,) = here.core.events.recent(code="CONFIG_INVALID", job="")
            assert told.outcome == "open" and "queue" in told.what
            assert here.core.settings is before
            home.config.write_text("[limits]\nqueue = 5\n")
            await soon(lambda: here.core.lanes.queue_limit == 5)
            assert [one.outcome for one in here.core.events.recent()] == ["open", "ok"]
            assert here.core.events.open_of("rbee.toml") is None
            following.cancel()

    asyncio.run(story())
