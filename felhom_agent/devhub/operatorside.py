"""What an operator calls: a program by JSON, a person by the pages of the hosts."""

from __future__ import annotations

from felhom_agent.devhub import page
from felhom_agent.devhub.call import Call, Refusal, Reply, read_object
from felhom_agent.devhub.envelope import Malformed, refuse_malformed
from felhom_agent.devhub.jobs import TooMany
from felhom_agent.devhub.markup import Wrong, path_of


def put_state(call: Call, host_id: str) -> Reply:
    call.operator_of(host_id)
    return Reply({"generation": call.hub.store.desire(host_id, call.object())})


def post_job(call: Call, host_id: str) -> Reply:
    call.operator_of(host_id)
    envelope = call.object()
    try:
        refuse_malformed(envelope)
        call.hub.store.enqueue(host_id, envelope, call.hub.clock())
    except Malformed as error:
        raise Refusal(400, str(error)) from None
    except TooMany as error:
        raise Refusal(409, str(error)) from None
    return Reply({}, 201)


def hosts(call: Call) -> Reply:
    call.operator()
    return Reply(
        {
            "hosts": [
                {
                    "host_id": host.host_id,
                    "last_seen": host.seen or None,
                    "desired_generation": host.generation,
                    "blocked": host.blocked,
                    "agent": host.report.get("agent"),
                }
                for host in call.hub.store.hosts()
            ]
        }
    )


def list_page(call: Call) -> Reply:
    call.operator()
    return Reply(page.list_of(call.hub.store.hosts(), call.hub.clock()))


def host_page(call: Call, host_id: str) -> Reply:
    return page_reply(call, host_id)


def save(call: Call, host_id: str) -> Reply:
    call.operator_of(host_id)
    form = call.own_form("state")
    try:
        state = read_object(form["state"])
    except ValueError as error:
        return page_reply(call, host_id, Wrong("state", f"This was not saved: {error}", form))
    call.hub.store.desire(host_id, state)
    return back(host_id)


def set_blocked(call: Call, host_id: str) -> Reply:
    call.operator_of(host_id)
    call.hub.store.block(host_id, blocked=bool(call.own_form("blocked")["blocked"]))
    return back(host_id)


def page_reply(call: Call, host_id: str, wrong: Wrong | None = None) -> Reply:
    """Return a host's page, with what is wrong with the form that was sent."""
    host = call.operator_of(host_id)
    jobs = call.hub.store.all_jobs(host_id)
    return Reply(page.page_of(host, jobs, call.hub.clock(), wrong), 400 if wrong else 200)


def back(host_id: str, part: str = "") -> Reply:
    """Return the answer to a form that was followed: back to the host's page, and a part of it."""
    return Reply(None, 303, {"Location": f"{path_of(host_id)}{part}"})
