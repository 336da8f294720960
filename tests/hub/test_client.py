"""Each call to a hub is counted by what came of it."""

from __future__ import annotations

import pytest

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import HubConfig
from felhom_agent.devhub import DevHub
from felhom_agent.errors import HubAway, HubRefused
from felhom_agent.hub.client import HubClient
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import HUB


def test_a_call_is_good_refused_or_had_no_answer(hub: DevHub) -> None:
    counters = Counters()

    def client(url: str, key: str) -> HubClient:
        config = HubConfig(url=url, host_id="pve1", connect_timeout=2.0, read_timeout=2.0)
        return HubClient(config, Secret(key), counters=counters)

    client(hub.url, hub.store.enroll("pve1")).desired_state()
    with pytest.raises(HubRefused):
        client(hub.url, "another-key").desired_state()
    with pytest.raises(HubAway):
        client("http://127.0.0.1:1", "another-key").desired_state()
    found = counters.snapshot().counters[HUB]
    assert found == {("good",): 1, ("refused",): 1, ("away",): 1}
