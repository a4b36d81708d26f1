// The official JavaScript SDK against a simulated organisation: BASE-URL CLIENT-ID CLIENT-SECRET AGENTS.
//
// This SDK hands answers over as they are: it judges paths, methods, authorisation and bodies,
// not fields. So fields are looked at here. Prints a line per call; exits 1 at the first that is wrong.
'use strict';

const sdk = require('purecloud-platform-client-v2');
const WebSocket = require('ws');

const STATUSES = ['OFF_QUEUE', 'IDLE', 'INTERACTING', 'NOT_RESPONDING', 'COMMUNICATING'];
// The agents of a lively organisation change within seconds; a busy machine gets time.
const EVENTS_BOUND_MS = 60_000;

/** The answer, if every path leads to something; `*` stands for every element of a list. */
function checked(call, answer, ...paths) {
  for (const path of paths) {
    let values = [answer];
    for (const name of path.split('.')) {
      values = name === '*' ? values.flat() : values.map((value) => value?.[name]);
    }
    if (values.length === 0 || values.some((value) => value === undefined || value === null)) {
      throw new Error(`${call}: ${path} is missing in ${JSON.stringify(answer).slice(0, 2000)}`);
    }
  }
  console.log(`ok ${call} (${paths.length} fields)`);
  return answer;
}

function hears(uri, wanted) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(uri);
    const heard = new Set();
    const timer = setTimeout(() => reject(new Error(`heard only ${[...heard]}`)), EVENTS_BOUND_MS);
    socket.on('error', reject);
    socket.on('open', () => socket.send(JSON.stringify({ message: 'ping' })));
    socket.on('message', (data) => {
      const said = JSON.parse(data);
      if (said.topicName === 'channel.metadata') {
        heard.add(said.eventBody.message);
      } else if (said.topicName.endsWith('.activity')) {
        checked('event activity', said, 'version', 'metadata.CorrelationId', 'eventBody.id',
          'eventBody.routingStatus.startTime', 'eventBody.presence.presenceDefinition.systemPresence');
        if (!STATUSES.includes(said.eventBody.routingStatus.status)) {
          reject(new Error(`unknown status in ${data}`));
        }
        heard.add('activity');
      }
      if (wanted.every((word) => heard.has(word))) {
        clearTimeout(timer);
        socket.close();
        resolve();
      }
    });
  });
}

async function main([base, id, secret, agents]) {
  const url = new URL(base);
  const client = sdk.ApiClient.instance;
  client.setGateway({ host: url.hostname, protocol: url.protocol.replace(':', ''), port: Number(url.port) });
  checked('login', await client.loginClientCredentialsGrant(id, secret), 'accessToken');

  const users = new sdk.UsersApi();
  const expand = ['presence', 'routingStatus', 'conversationSummary'];
  const page = checked('getUsers', await users.getUsers({ pageSize: 500, expand }),
    'total', 'pageCount', 'entities.*.id', 'entities.*.routingStatus.startTime',
    'entities.*.presence.presenceDefinition.id', 'entities.*.presence.modifiedDate',
    'entities.*.conversationSummary.call.contactCenter.acw');
  if (page.entities.length !== Number(agents)) {
    throw new Error(`getUsers: ${page.entities.length} users, not ${agents}`);
  }
  const strange = page.entities.filter((user) => !STATUSES.includes(user.routingStatus.status));
  if (strange.length > 0) {
    throw new Error(`getUsers: unknown status in ${JSON.stringify(strange[0])}`);
  }
  const ids = page.entities.map((user) => user.id);
  checked('getUser', await users.getUser(ids[0], { expand }), 'id', 'routingStatus.status', 'presence.modifiedDate');
  checked('getUserRoutingstatus', await users.getUserRoutingstatus(ids[0]), 'userId', 'status', 'startTime');

  const presence = new sdk.PresenceApi();
  checked('getPresenceDefinitions0', await presence.getPresenceDefinitions0(), 'total', 'entities.*.systemPresence');
  const bulk = await presence.getUsersPresencesPurecloudBulk({ id: ids.slice(0, 3) });
  if (bulk.length !== 3) {
    throw new Error(`getUsersPresencesPurecloudBulk: ${bulk.length} of 3`);
  }

  const routing = new sdk.RoutingApi();
  const queues = checked('getRoutingQueues', await routing.getRoutingQueues({ pageSize: 100 }),
    'total', 'entities.*.id', 'entities.*.name', 'entities.*.memberCount');
  checked('getRoutingQueueMembers', await routing.getRoutingQueueMembers(queues.entities[0].id, { pageSize: 100 }),
    'pageNumber', 'entities.*.id', 'entities.*.joined', 'entities.*.routingStatus.status');

  const analytics = new sdk.AnalyticsApi();
  checked('getAnalyticsAgentStatus', await analytics.getAnalyticsAgentStatus(ids[0]), 'userId', 'routingStatusDate', 'sessions');
  const at = (ms) => new Date(Date.now() + ms).toISOString();
  checked('postAnalyticsUsersDetailsQuery', await analytics.postAnalyticsUsersDetailsQuery({
    interval: `${at(-3_600_000)}/${at(60_000)}`,
    userFilters: [{ type: 'or', predicates: [{ dimension: 'userId', value: ids[0] }] }],
  }), 'totalHits', 'userDetails.*.routingStatus.*.startTime', 'userDetails.*.primaryPresence.*.systemPresence');

  const notifications = new sdk.NotificationsApi();
  const channel = checked('postNotificationsChannels', await notifications.postNotificationsChannels(), 'id', 'connectUri', 'expires');
  const topics = ids.map((user) => ({ id: `v2.users.${user}.activity` }));
  const put = await notifications.putNotificationsChannelSubscriptions(channel.id, topics);
  checked('putNotificationsChannelSubscriptions', put, 'entities.*.id', 'entities.*.state');
  await hears(channel.connectUri, ['pong', 'activity']);
  console.log('all calls parsed');
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof Error ? error.message : JSON.stringify(error));
  process.exit(1);
});
