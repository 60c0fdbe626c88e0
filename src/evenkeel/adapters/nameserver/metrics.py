"""The nameserver's counts for Prometheus, read when somebody asks: the hot path only adds to plain integers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.nameserver.server import EmbeddedNameserver
from evenkeel.model.records import Rcode

_NAMES = {rcode.value: rcode.name for rcode in Rcode}


class NameserverCollector(Collector):
    """Register it with the component's registry."""

    def __init__(self, server: EmbeddedNameserver) -> None:
        self._server = server

    def collect(self) -> Iterable[Metric]:
        counts = self._server.responder.counts
        queries = CounterMetricFamily("evenkeel_dns_queries", "Questions answered, by how", labels=["path"])
        queries.add_metric(["ready"], counts.ready)
        queries.add_metric(["parsed"], counts.queries)
        yield queries
        yield _by_rcode("evenkeel_dns_parsed_replies", "Replies to questions that were parsed", counts.rcodes)
        yield _by_rcode("evenkeel_dns_updates", "Dynamic updates, by how they ended", counts.update_rcodes)
        for name, text, value in (
            ("truncated", "Replies that told the client to come over TCP", counts.truncated),
            ("tsig_failures", "Signatures that did not hold", counts.tsig_failures),
            ("dropped", "Datagrams that were no question", counts.dropped),
            ("rate_limited", "Replies held back by the rate limit", self._limited()),
        ):
            yield CounterMetricFamily(f"evenkeel_dns_{name}", text, value=value)
        yield GaugeMetricFamily("evenkeel_dns_tcp_connections", "Open now", value=self._server.connections)
        yield GaugeMetricFamily("evenkeel_dns_updates_waiting", "Not yet evaluated", value=self._server.commits.waiting)
        yield from self._zones()

    def _limited(self) -> int:
        return self._server.limit.limited if self._server.limit is not None else 0

    def _zones(self) -> Iterable[Metric]:
        texts = {
            "serial": "The SOA's serial",
            "names": "Names that hold records",
            "journal_octets": "Of the journal on disk",
            "snapshot_octets": "Of the newest snapshot on disk",
            "history_commits": "Commits that an IXFR can be made of",
        }
        status = self._server.zones_status()
        for key, text in texts.items():
            family = GaugeMetricFamily(f"evenkeel_dns_zone_{key}", text, labels=["zone"])
            for zone, values in status.items():
                family.add_metric([zone], values[key])
            yield family


def _by_rcode(name: str, text: str, counts: list[int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["rcode"])
    for rcode, count in enumerate(counts):
        if count or rcode == 0:
            family.add_metric([_NAMES.get(rcode, str(rcode))], count)
    return family
