"""Who did what as administrator is written down, however it ended."""

import asyncio
import time

from rbee.edge.audit_file import AuditFile, user_name
from rbee.edge.home import Home
from rbee.edge.http_server import Request
from rbee.queen.audit import Audit
from rbee.wire.audit import read_acts
from rbee.wire.keys import KeyAsk
from tests.queen.stage import stage


def acts(root):
    """What is written down, without its time."""
    found = read_acts(AuditFile(Home(root)).lines())
    return [(one.who, one.act, one.of, one.result) for one in found]


def test_acts_over_the_network_name_their_key(tmp_path):
    """What was done, what was refused, and nothing that only looks."""

    async def run():
        async with stage(tmp_path) as here:
            (tmp_path / "state").mkdir(exist_ok=True)
            ask = KeyAsk(name="laptop", roles=("admin",))
            made = here.core.keys.create(ask, time.time())
            headers = {"authorization": f"Bearer {made.key}"}
            me = f"key {made.record.id} (laptop)"
            post = here.client.post
            other = (await post("/rbee/keys/create", json={}, headers=headers)).json()["id"]
            await post("/rbee/keys/revoke", json={"id": "absent"}, headers=headers)
            await post("/rbee/stop", json=[1], headers=headers)
            await here.client.get("/rbee/keys", headers=headers)
            await post("/rbee/stop", json={"model": "x"}, headers={})
            here.core.audit.close()

            assert acts(tmp_path) == [
                (me, "keys/create", f"made={other}", "ok"),
                (me, "keys/revoke", "id=absent", "KEY_NOT_FOUND"),
                (me, "stop", "", "INVALID_REQUEST"),
            ]
            assert made.key not in str(AuditFile(Home(tmp_path)).lines())

    asyncio.run(run())


def test_a_disk_that_refuses_is_told_in_the_log(tmp_path):
    """The act has happened; that it is not written down is no secret."""
    told = []
    audit = Audit(Home(tmp_path / "absent"), lambda event, **facts: told.append((event, facts)))
    audit.by("rbee.toml", "reload", "", "ok")
    audit.close()

    ((event, facts),) = told
    assert (event, facts["act"]) == ("an act is not written down", "reload")


def test_a_user_of_this_machine_is_named(tmp_path):
    """As the kernel says who is at the other end of the admin socket."""
    home = Home(tmp_path)
    home.prepare()

    path = "/rbee/serve"
    request = Request("POST", path, path, "", (), b'{"model": "tiny"}', admin=True, uid=0)
    audit = Audit(home, print)
    audit.asked(request, "", {}, "ok")
    audit.close()

    assert acts(tmp_path) == [(user_name(0), "serve", "model=tiny", "ok")]
