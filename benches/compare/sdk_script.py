"""What a user would write without an exporter: the official SDK, and gauges by prometheus_client.

BASE-URL DIALECT INTERVAL-SECONDS. Prints a line a cycle: the seconds that it took.
"""

import sys
import time

import PureCloudPlatformClientV2 as sdk
from prometheus_client import Gauge, start_http_server

PRESENCES = Gauge("agents_presence", "Agents by presence", ["presence"])
ROUTING = Gauge("agents_routing", "Agents by routing status", ["status"])
MEDIA = ("call", "callback", "chat", "email", "message", "social_expression", "video")


def connect(base):
    api = sdk.ApiClient(host=base)
    api.get_client_credentials_token("demo", "demo")
    return api


def show(gauge, values):
    counts = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    gauge.clear()
    for value, count in counts.items():
        gauge.labels(value).set(count)


def platform(api):
    users = sdk.UsersApi(api)
    found, page = [], 1
    while True:
        listing = users.get_users(
            page_size=500,
            page_number=page,
            state="active",
            expand=["presence", "routingStatus", "conversationSummary"],
        )
        found += listing.entities
        if page >= listing.page_count:
            break
        page += 1
    show(PRESENCES, (u.presence.presence_definition.system_presence for u in found))
    show(ROUTING, map(routing, found))


def routing(user):
    """The routing status, with after-call work told from calls, as the exporter tells it."""
    if user.routing_status.status != "INTERACTING":
        return user.routing_status.status
    active = wrapping = 0
    for medium in MEDIA:
        of = getattr(user.conversation_summary, medium)
        for kind in (of.contact_center, of.enterprise) if of else ():
            active += (kind.active or 0) if kind else 0
            wrapping += (kind.acw or 0) if kind else 0
    return "WRAP_UP" if wrapping and not active else "INTERACTING"


def status(api):
    # The SDK has no method of this call: its client is used as it is.
    found = api.call_api(
        "/api/v2/users/statuses",
        "GET",
        header_params={"Accept": "application/json"},
        response_type="object",
        auth_settings=["PureCloud OAuth"],
    )
    show(PRESENCES, (record["presence"] for record in found))
    show(ROUTING, (record["availability"] for record in found))


def main():
    base, dialect, interval = sys.argv[1], sys.argv[2], float(sys.argv[3])
    api = connect(base)
    start_http_server(0, addr="127.0.0.1")
    cycle = {"platform": platform, "status": status}[dialect]
    due = time.monotonic()
    while True:
        begun = time.monotonic()
        cycle(api)
        print(f"{time.monotonic() - begun:.6f}", flush=True)
        due = max(due + interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


main()
