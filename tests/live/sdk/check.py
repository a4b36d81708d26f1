"""The official Python SDK against a simulated organisation: BASE-URL CLIENT-ID CLIENT-SECRET AGENTS.

The SDK turns a shape that it does not know into an empty model, and an unknown enum into
`outdated_sdk_version`, both without an exception. So every field that matters is looked at, and
every answer is searched for that word. Prints a line per call; exits 1 at the first that is wrong.
"""

import json
import sys
import time

import PureCloudPlatformClientV2 as sdk
from websockets.sync.client import connect

UNKNOWN_ENUM = "outdated_sdk_version"
# The agents of a lively organisation change within seconds; a busy machine gets time.
EVENTS_BOUND_SECONDS = 60


def fail(call, message):
    sys.exit(f"{call}: {message}")


def field(model, path):
    """The value at a dotted path; `*` stands for every element of a list."""
    values = [model]
    for name in path.split("."):
        if name == "*":
            values = [element for value in values for element in value or [None]]
        else:
            values = [None if value is None else getattr(value, name) for value in values]
    return values


def checked(call, model, *paths):
    """The model, if all that matters is there and no enum is unknown."""
    text = str(model)
    if UNKNOWN_ENUM in text:
        fail(call, f"an enum that the SDK does not know in {text[:2000]}")
    for path in paths:
        values = field(model, path)
        if not values or any(value is None for value in values):
            fail(call, f"{path} is missing in {text[:2000]}")
    print(f"ok {call} ({len(paths)} fields)", flush=True)
    return model


def users_and_presences(api, agents):
    users = sdk.UsersApi(api)
    expand = ["presence", "routingStatus", "conversationSummary", "outOfOffice"]
    of_user = [
        "id", "name", "state", "version", "self_uri", "division.id", "email",
        "routing_status.user_id", "routing_status.status", "routing_status.start_time",
        "presence.source", "presence.primary", "presence.modified_date", "presence.self_uri",
        "presence.presence_definition.id", "presence.presence_definition.system_presence",
        "conversation_summary.user_id", "conversation_summary.call.contact_center.active",
        "conversation_summary.call.contact_center.acw", "conversation_summary.call.enterprise.active",
        "conversation_summary.email.contact_center.active", "conversation_summary.video.enterprise.acw",
        "out_of_office.active", "out_of_office.indefinite",
    ]
    listing = ["page_size", "page_number", "total", "page_count", "first_uri", "self_uri", "last_uri"]
    found = {}
    for number in range(1, 1000):
        page = users.get_users(page_size=25, page_number=number, expand=expand, state="active")
        if number == 1:
            checked("get_users", page, *listing, *(f"entities.*.{name}" for name in of_user))
            if page.total != agents:
                fail("get_users", f"{page.total} users, not {agents}")
        found.update((user.id, user) for user in page.entities)
        if page.next_uri is None:
            break
    if len(found) != agents:
        fail("get_users", f"{len(found)} users in all pages, not {agents}")
    some = sorted(found)[:3]
    by_id = users.get_users(id=some, page_size=100)
    checked("get_users by id", by_id, "entities.*.id")
    if sorted(user.id for user in by_id.entities) != some:
        fail("get_users by id", f"asked for {some}")
    checked("get_user", users.get_user(some[0], expand=expand), *of_user)
    checked("get_user_routingstatus", users.get_user_routingstatus(some[0]), "user_id", "status", "start_time")
    checked("get_user_queues", users.get_user_queues(some[0]), "total", "entities.*.id", "entities.*.name", "entities.*.joined")
    presence = sdk.PresenceApi(api)
    checked(
        "get_user_presences_purecloud", presence.get_user_presences_purecloud(some[0]),
        "presence_definition.id", "presence_definition.system_presence", "modified_date", "primary",
    )
    bulk = presence.get_users_presences_purecloud_bulk(id=some)
    if len(bulk) != 3:
        fail("get_users_presences_purecloud_bulk", f"{len(bulk)} of 3")
    for row in bulk:
        checked("get_users_presences_purecloud_bulk", row, "user_id", "presence_definition.system_presence", "modified_date")
    definitions = checked(
        "get_presence_definitions", presence.get_presence_definitions(),
        "total", "self_uri", "entities.*.id", "entities.*.name", "entities.*.type",
        "entities.*.system_presence", "entities.*.language_labels", "entities.*.deactivated",
    )
    known = {definition.id for definition in definitions.entities}
    for user in found.values():
        if user.presence.presence_definition.id not in known:
            fail("get_presence_definitions", f"{user.presence.presence_definition} has no definition")
    for row in presence.get_systempresences():
        checked("get_systempresences", row, "id", "name", "self_uri")
    return found


def queues_and_members(api):
    routing = sdk.RoutingApi(api)
    queues = checked(
        "get_routing_queues", routing.get_routing_queues(page_size=100),
        "total", "page_count", "entities.*.id", "entities.*.name", "entities.*.division.id",
        "entities.*.member_count", "entities.*.joined_member_count", "entities.*.self_uri",
    )
    for queue in queues.entities:
        members = checked(
            "get_routing_queue_members", routing.get_routing_queue_members(queue.id, page_size=100),
            "page_size", "page_number", "first_uri", "self_uri", "entities.*.id", "entities.*.name",
            "entities.*.user.id", "entities.*.joined", "entities.*.member_by", "entities.*.ring_number",
            "entities.*.routing_status.status", "entities.*.routing_status.start_time",
        )
        if len(members.entities) != queue.member_count:
            fail("get_routing_queue_members", f"{len(members.entities)} of {queue.member_count}")


def analytics(api, users):
    analytics = sdk.AnalyticsApi(api)
    user = sorted(users)[0]
    now = time.time()
    stamp = lambda at: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
    query = {
        "interval": f"{stamp(now - 3600)}/{stamp(now + 60)}",
        "userFilters": [{"type": "or", "predicates": [{"dimension": "userId", "value": user}]}],
        "order": "asc",
        "paging": {"pageSize": 25, "pageNumber": 1},
    }
    details = checked(
        "post_analytics_users_details_query", analytics.post_analytics_users_details_query(query),
        "total_hits", "user_details.*.user_id",
        "user_details.*.routing_status.*.start_time", "user_details.*.routing_status.*.routing_status",
        "user_details.*.primary_presence.*.start_time", "user_details.*.primary_presence.*.system_presence",
        "user_details.*.primary_presence.*.organization_presence_id",
    )
    records = details.user_details[0].routing_status
    if records[-1].end_time is not None or any(record.end_time is None for record in records[:-1]):
        fail("post_analytics_users_details_query", f"only the last record is open: {records}")
    busy = set()
    for user in sorted(users):
        status = checked(
            "get_analytics_agent_status", analytics.get_analytics_agent_status(user),
            "user_id", "user_name", "division_id", "session_count", "system_presence", "organization_presence_id",
            "presence_date", "routing_status", "routing_status_date", "is_out_of_office",
        )
        if status.session_count:
            checked(
                "get_analytics_agent_status with a session", status,
                "sessions.*.conversation_id", "sessions.*.session_id", "sessions.*.session_start",
                "sessions.*.segment_start", "sessions.*.segment_type", "sessions.*.media_type",
                "sessions.*.originating_direction",
            )
            busy.update(session.segment_type for session in status.sessions)
    if "interact" not in busy:
        fail("get_analytics_agent_status", f"nobody is on a call: {busy}")


# Topic suffix -> class of its events, and what must be in them.
EVENTS = {
    "activity": ("AgentActivityChangedTopicAgentActivity", [
        "id", "routing_status.status", "routing_status.start_time", "presence.modified_date",
        "presence.presence_definition.id", "presence.presence_definition.system_presence",
        "out_of_office.active", "active_queue_ids", "date_active_queues_changed",
    ]),
    "presence": ("PresenceEventUserPresence", [
        "source", "primary", "modified_date", "presence_definition.id", "presence_definition.system_presence",
    ]),
    "routingStatus": ("UserRoutingStatusUserRoutingStatus", [
        "id", "routing_status.status", "routing_status.start_time",
    ]),
    "conversationsummary": ("UserConversationsEventUserConversationSummary", [
        "user_id", "call.contact_center.active", "call.contact_center.acw", "email.enterprise.active",
    ]),
}


def notifications(api, users):
    notifications = sdk.NotificationsApi(api)
    checked(
        "get_notifications_availabletopics",
        notifications.get_notifications_availabletopics(expand=["description", "transports"]),
        "entities.*.id", "entities.*.description", "entities.*.transports", "entities.*.visibility",
    )
    channel = checked("post_notifications_channels", notifications.post_notifications_channels(), "id", "connect_uri", "expires")
    topics = [f"v2.users.{user}.{suffix}" for user in users for suffix in EVENTS]
    first, rest = topics[:1], topics[1:]
    for call, body in (("put", first), ("post", rest)):
        call = f"{call}_notifications_channel_subscriptions"
        answer = getattr(notifications, call)(channel.id, [{"id": topic} for topic in body])
        checked(call, answer, "entities.*.id", "entities.*.state", "entities.*.self_uri")
        if [row.state for row in answer.entities] != ["Permitted"] * len(body):
            fail(call, str(answer.entities[:3]))
    listed = notifications.get_notifications_channel_subscriptions(channel.id)
    if sorted(row.id for row in listed.entities) != sorted(topics):
        fail("get_notifications_channel_subscriptions", f"{len(listed.entities)} of {len(topics)}")
    pong, wanted = False, set(EVENTS)
    deadline = time.monotonic() + EVENTS_BOUND_SECONDS
    with connect(channel.connect_uri) as socket:
        socket.send(json.dumps({"message": "ping"}))
        while wanted or not pong:
            try:
                said = json.loads(socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                fail("notifications", f"nothing heard of {wanted}, pong {pong}")
            if said["topicName"] == "channel.metadata":
                pong = pong or said["eventBody"]["message"] == "pong"
                continue
            suffix = said["topicName"].rsplit(".", 1)[1]
            name, paths = EVENTS[suffix]
            # The SDK opens no socket, but it has the classes of the events.
            checked(f"event {suffix}", api._ApiClient__deserialize(said["eventBody"], name), *paths)
            wanted.discard(suffix)
    notifications.delete_notifications_channel_subscriptions(channel.id)


def main():
    base, client_id, client_secret, agents = sys.argv[1:]
    api = sdk.ApiClient(host=base)
    api.get_client_credentials_token(client_id, client_secret)
    if not api.access_token:
        fail("login", "no token")
    users = users_and_presences(api, int(agents))
    queues_and_members(api)
    analytics(api, users)
    notifications(api, users)
    print("all calls parsed", flush=True)


main()
