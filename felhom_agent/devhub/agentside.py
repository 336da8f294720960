"""What agents call: the report and its answer, the desired state, and the jobs."""

from __future__ import annotations

from felhom_agent.devhub.call import Call, Refusal, Reply


def report(call: Call) -> Reply:
    host_id = call.caller()
    found = call.object()
    if found.get("host_id") != host_id:
        raise Refusal(403, "the key is another host's")
    hub = call.hub
    hub.store.take_report(host_id, found, hub.clock())
    host = hub.store.host(host_id)
    return Reply(
        {
            "poll_interval_seconds": hub.poll_seconds,
            "blocked": bool(host and host.blocked),
            "desired_generation": host.generation if host else 0,
            "has_signed_ops": bool(hub.store.jobs(host_id)),
        }
    )


def desired_state(call: Call, host_id: str) -> Reply:
    call.only(host_id)
    host = call.hub.store.host(host_id)
    if host is None or not host.generation:
        raise Refusal(404, "none yet")
    headers = {"ETag": f'"{host.generation}"'}
    if call.headers.get("If-None-Match") == headers["ETag"]:
        return Reply(None, 304, headers)
    body = {
        "host_id": host_id, "generation": host.generation, "desired_state": host.state
    }  # fmt: skip
    return Reply(body, headers=headers)


def jobs(call: Call, host_id: str) -> Reply:
    call.only(host_id)
    return Reply({"jobs": call.hub.store.deliver(host_id, call.hub.clock())})


def acknowledge(call: Call, host_id: str, job_id: str) -> Reply:
    call.only(host_id)
    call.hub.store.acknowledge(host_id, job_id, call.hub.clock())
    return Reply({})
