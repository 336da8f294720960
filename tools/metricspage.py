"""Makes docs/metrics.md: how metrics are had, which there are, what to do when an alert fires."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from felhom_agent.daemon.metricsfile import OLDEST, PACKAGE
from felhom_agent.service.counters import MAX_SERIES
from felhom_agent.service.families import FAMILIES, Family, FamilyType

RUNBOOK = Path(__file__).parent / "metrics_runbook.md"

_HEAD = f"""\
# Metrics

Generated from `felhom_agent/service/families.py` and `tools/metrics_runbook.md`; `make docs`
rewrites it. The agent listens on no port. `felhom-agent metrics` prints what there is, and the
control socket answers `GET /v1/metrics` with it ([control.md](control.md)). Both need
`{PACKAGE}` ({OLDEST} or later); without it one line says so, and all else goes on.

## To have them scraped
node_exporter reads files, so the agent writes one: after each pass, whenever it has worked on a
guest, and once a minute at least. As root, on a host that has `prometheus-node-exporter`:

```sh
apt install {PACKAGE} acl
setfacl -m u:felhom-agent:rwx /var/lib/prometheus/node-exporter
```

and in `/etc/felhom-agent/agent.toml`:

```toml
[metrics]
textfile = "/var/lib/prometheus/node-exporter/felhom-agent.prom"
```

Then
```sh
systemctl restart felhom-agent
felhom-agent check
```
which tells what is still missing.
For another directory the unit needs a drop-in with `ReadWritePaths=`. A file that cannot be written
is one warning in the log, and nothing else. The file stays when the agent ends: that its times grow
old is how that is seen.

In Prometheus, `rule_files:` takes `prometheus/felhom-agent.rules.yml`; in Grafana, import
`grafana/felhom-agent.json`. Both are in `/usr/share/felhom-agent/`, and here in `packaging/`. The
dashboard asks for a data source, and joins guests with those of
pve-exporter by `vmid`.

## What there is
Everything is in seconds and bytes. `vmid` is a label of gauges alone, and of declared guests alone.
A counter or histogram has at most {MAX_SERIES} combinations of labels; what would be one more is
counted under `other`. Paths of the API have `{{vmid}}` and its like in the place of what names one
thing of many. What belongs to a hub, to hints of the host or to signed operations is there where
the agent has that. The process of the agent has `felhom_process_...`, since node_exporter has
`process_...` itself.

| family | type | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    return _HEAD + "\n".join(_rows()) + "\n\n" + RUNBOOK.read_text()


def _rows() -> Iterator[str]:
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| `{family.name}` | {family.type} | {labels} | {_meaning(family)} |"


def _meaning(family: Family) -> str:
    if family.type is not FamilyType.HISTOGRAM:
        return family.help
    bounds = ", ".join(f"{bound:g}" for bound in family.buckets)
    return f"{family.help} Buckets: {bounds} s."
