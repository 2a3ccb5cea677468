"""The values that rbee is shipped with: scenarios run with shorter ones, so they are held here."""

from rbee.settings import Limits, ModelSettings, Settings, Timing


def test_the_limits_in_time_are_those_that_are_documented() -> None:
    """Seconds, each argued for in the design; a change is a decision, not a slip."""
    shipped = Timing()
    documented = {
        "connect_s": 2,
        "silence_s": 4,
        "probe_s": 1,
        "worker_start_s": 30,
        "load_stall_s": 60,
        "download_stall_s": 30,
        "drain_s": 30,
        "end_streams_s": 5,
        "term_s": 5,
        "orphan_s": 60,
        "health_every_s": 5,
        "hold_status_s": 10,
        "comment_every_s": 15,
    }

    assert {name: getattr(shipped, name) for name in documented} == documented
    assert (shipped.restart_first_s, shipped.restart_cap_s) == (1, 60)
    assert shipped.hive_restart_s == 0.1
    assert shipped.hive_ping_s == 2
    assert shipped.hive_start_s == 20


def test_what_a_person_may_bound_has_its_documented_default() -> None:
    """`rbee config show` on a fresh machine."""
    limits, model = Limits(), ModelSettings()

    assert (limits.queue, limits.queue_wait_s, limits.stall_s, limits.total_s) == (100, 60, 60, 0)
    assert limits.disk_reserve_bytes == 1 << 30
    assert (model.keep_alive_s, model.device, model.fallback, model.replicas) == (
        300,
        "auto",
        True,
        1,
    )


def test_rbee_is_closed_to_others_by_default() -> None:
    """Loopback, and web pages of this machine only."""
    shipped = Settings(home="/x")

    assert (shipped.host, shipped.port, shipped.origins) == ("127.0.0.1", 7833, ("loopback",))
