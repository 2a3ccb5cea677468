"""`/metrics` in Prometheus' text format, made from plain counters when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbee.queen.core import Core


def render(core: Core) -> bytes:
    """All metrics of this queen."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(core))
    return generate_latest(registry)


class _Collector:
    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Any]:
        """The families, as prometheus_client wants them."""
        yield from self._answers()
        yield from self._workers()

    def _answers(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        core, counters = self._core, self._core.counters
        requests = CounterMetricFamily(
            "rbee_requests", "Requests ended, by model and code", labels=["model", "code"]
        )
        for (model, code), count in counters.requests.items():
            requests.add_metric([model, code], count)
        seconds = CounterMetricFamily(
            "rbee_request_seconds", "Time from request to end", labels=["model"]
        )
        for model, total_s in counters.seconds.items():
            seconds.add_metric([model], total_s)
        tokens = CounterMetricFamily("rbee_tokens", "Token events relayed", labels=["worker"])
        for worker, count in counters.tokens.items():
            tokens.add_metric([worker], count)
        faults = CounterMetricFamily("rbee_faults", "Faults by code", labels=["code"])
        refused = CounterMetricFamily("rbee_refused", "Refused at the door", labels=["code"])
        for family, counts in ((faults, counters.events), (refused, counters.refused)):
            for code, count in counts.items():
                family.add_metric([code], count)
        splices = CounterMetricFamily(
            "rbee_splices", "Answers taken up by another attempt", labels=["mode", "exact"]
        )
        for (mode, exact), count in counters.splices.items():
            splices.add_metric([mode, "true" if exact else "false"], count)
        lost = CounterMetricFamily(
            "rbee_answers_lost", "Answers that could not be finished", labels=["model"]
        )
        for model, count in counters.lost.items():
            lost.add_metric([model], count)
        running = GaugeMetricFamily("rbee_requests_running", "Requests in work", labels=["model"])
        for model, count in counters.running.items():
            running.add_metric([model], count)
        waiting = GaugeMetricFamily("rbee_requests_waiting", "Requests in line", labels=["model"])
        for model, count in core.lanes.waiting().items():
            waiting.add_metric([model], count)
        jobs = GaugeMetricFamily("rbee_jobs", "Jobs that are kept, by status", labels=["status"])
        for status, count in core.jobs.counts().items():
            jobs.add_metric([status], count)
        yield from (requests, seconds, tokens, faults, refused, splices, lost)
        yield from (running, waiting, jobs)

    def _workers(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        core = self._core
        slots = GaugeMetricFamily(
            "rbee_worker_slots", "Slots of a worker", labels=["worker", "model", "state"]
        )
        busy = GaugeMetricFamily("rbee_worker_busy", "Slots in use", labels=["worker", "model"])
        for one in core.roster.workers.values():
            slots.add_metric([one.id, one.model, one.state], one.slots)
            busy.add_metric([one.id, one.model], core.roster.busy.get(one.id, 0))
        degraded = GaugeMetricFamily(
            "rbee_worker_degraded", "1: runs on less than was asked for", labels=["worker"]
        )
        for one in core.roster.workers.values():
            degraded.add_metric([one.id], 1 if one.degraded else 0)
        breakers = GaugeMetricFamily(
            "rbee_worker_breaker", "1: in this state", labels=["worker", "model", "state"]
        )
        share = GaugeMetricFamily(
            "rbee_worker_share", "Share of its slots that a worker may use", labels=["worker"]
        )
        for one in core.roster.workers.values():
            health = core.health.view(one)
            breakers.add_metric([one.id, one.model, health["breaker"]], 1)
            share.add_metric([one.id], health["share"])
        places = GaugeMetricFamily("rbee_queue_places", "Requests that may wait for one model")
        places.add_metric([], core.lanes.queue_limit)
        connects = CounterMetricFamily("rbee_upstream_connects", "Connections made to workers")
        connects.add_metric([], core.client.connects)
        hive = GaugeMetricFamily("rbee_hive_connected", "1: this machine's agent is there")
        hive.add_metric([], 1 if core.roster.hive_connected else 0)
        yield from (slots, busy, degraded, breakers, share, places, connects, hive)
        yield from self._devices()

    def _devices(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        rests = GaugeMetricFamily(
            "rbee_device_rests", "1: it failed and gets no model for now", labels=["device"]
        )
        celsius = GaugeMetricFamily(
            "rbee_device_celsius", "Temperature, where it is told", labels=["device"]
        )
        free = GaugeMetricFamily(
            "rbee_device_free_bytes", "Memory that is free, where it is told", labels=["device"]
        )
        hive = self._core.roster.hive
        for one in hive.devices if hive else ():
            if one.usable:
                rests.add_metric([one.id], 1 if one.rests else 0)
            if one.celsius:
                celsius.add_metric([one.id], one.celsius)
            if one.memory_bytes:
                free.add_metric([one.id], one.free_bytes)
        yield from (rests, celsius, free)
