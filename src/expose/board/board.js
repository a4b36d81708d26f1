// The board. Follows api/v1/stream, holds what it was told, and draws it; every figure is the
// exporter's, every age is counted from the exporter's clock. Texts are set as text, never as markup.

const STATES = [
  ['available', 'Available'],
  ['not_ready', 'Not ready'],
  ['on_call', 'On call'],
  ['wrap_up', 'Wrap-up'],
  ['unknown', 'Unknown'],
];
const STATE_TITLES = Object.fromEntries(STATES);
// A browser draws some hundreds of rows at once; the filters lead to the others.
const QUEUE_ROWS_MAX = 200;
const AGENT_ROWS_MAX = 300;
// The exporter speaks at least every five seconds.
const SILENCE_MS_MAX = 16_000;

const $ = (id) => document.getElementById(id);
const queues = new Map();
const agents = new Map();
let told; // the last update
let clockOffset = 0; // the exporter's clock minus ours
let heardAt = -Infinity;
let filtersPending = true;

const state = {
  org: '',
  zone: 'UTC',
  queueSearch: '',
  queueSort: { key: 'name', up: true },
  agentQueue: '',
  agentState: '',
  agentSearch: '',
  offline: '',
  agentSort: { key: 'since', up: true },
};

// ---- time

const now = () => Date.now() + clockOffset;

function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(seconds % 60)}`
    : `${minutes}:${two(seconds % 60)}`;
}

const since = (text) => (text ? span(now() - Date.parse(text)) : '–');

function clock(text) {
  if (!text) return '–';
  const zone = state.zone === 'UTC' ? { timeZone: 'UTC' } : {};
  return new Date(text).toLocaleTimeString('en-GB', zone);
}

// ---- drawing

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Changes only what is different, so that focus, selection and screen readers are left in peace.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

function tiles(list, entries) {
  if (list.children.length !== entries.length) {
    list.replaceChildren(...entries.map(() => element('div', {}, element('dt'), element('dd'))));
  }
  entries.forEach(({ title, text, bad, name, hint }, at) => {
    const tile = list.children[at];
    setText(tile.firstChild, title);
    setText(tile.lastChild, text);
    setAttribute(tile, 'data-bad', String(bad === true));
    if (name) setAttribute(tile, 'data-state', name);
    if (hint) setAttribute(tile, 'title', hint);
  });
}

const percent = (ratio) => (ratio == null ? '–' : `${Math.floor(ratio * 1000) / 10} %`);
const sum = (record) => Object.values(record).reduce((all, one) => all + one, 0);

// Whether this instance asks the platform: only then does it know agents.
const polls = () => told.status.duty === 'polls';

function drawHealth() {
  // What is bad is the exporter's to say: it says so in a warning about that figure.
  const bad = new Set(told.warnings.map(({ about }) => about));
  tiles($('health'), polls() ? pollingHealth(bad) : storingHealth(bad));
  for (const section of document.querySelectorAll('.polled')) section.hidden = !polls();
}

const backlog = ({ queue }, bad) => ({
  title: 'Backlog', text: queue.depth == null ? '–' : String(queue.depth), bad: bad.has('backlog'), hint: 'state changes that wait to be stored',
});

function storingHealth(bad) {
  const { status } = told;
  const { store, windows } = status;
  return [
    { title: 'Ready', text: status.ready ? 'yes' : 'no', hint: 'whether it does what it is there for' },
    backlog(status, bad),
    { title: 'Events stored', text: String(store.events), hint: 'state changes that were new, since the start' },
    { title: 'Rows written', text: String(windows.written), hint: 'windows of time in state that were new, since the start' },
    { title: 'Rows revised', text: String(windows.revised), hint: 'windows that a late state change has altered, since the start' },
    { title: 'Errors', text: String(store.errors), hint: 'failures of queue and database, since the start; what failed is tried again' },
  ];
}

function pollingHealth(bad) {
  const { status } = told;
  const { snapshots, breaker, divergence, budget, time, windows, push } = status;
  const entries = [
    { title: 'Last snapshot', text: snapshots.acceptedAt ? `${since(snapshots.acceptedAt)} ago` : 'none yet', bad: bad.has('snapshot'),
      hint: `accepted at ${clock(snapshots.acceptedAt)}` },
    { title: 'Coverage', text: percent(snapshots.coverage), bad: bad.has('coverage'),
      hint: 'agents of the registry that the last answer named' },
    { title: 'Breaker', text: { closed: 'closed', open: 'open', half_open: 'trying again' }[breaker.state], bad: bad.has('breaker'),
      hint: 'open: polling is paused' },
    { title: 'Divergence', text: percent(divergence.ratio), bad: bad.has('divergence'),
      hint: `last check: ${divergence.compared} agents compared with the live platform` },
    { title: 'Budget left', text: String(budget.remainingRequests), hint: 'requests left in this minute' },
    backlog(status, bad),
    { title: 'Windows until', text: clock(windows.closedUntil), hint: 'every window that ended before is closed for every agent' },
    { title: 'Unknown time', text: span(sum(time.unknownSeconds) * 1000), hint: 'agent time since counting began that cannot be told' },
  ];
  if (push) {
    entries.push({ title: 'Push', text: `${push.channels.live} of ${sum(push.channels)} channels`, bad: bad.has('push'), hint: 'channels of notifications that are live' });
  }
  return entries;
}

function drawOrganisation() {
  const { organisation } = told;
  const entries = STATES.map(([name, title], at) => ({ title, name, text: String(organisation.agents[at]) }));
  entries.push({ title: 'Volatile', text: String(organisation.volatile), hint: 'changing too fast to be counted by state; counted when they settle' });
  tiles($('organisation'), entries);
}

const WORDS = { error: 'Attention', warning: 'Warning', note: 'Note' };

function drawWarnings() {
  const wanted = told.warnings.map(({ level, text }) => `${level} ${text}`);
  const shown = [...$('warnings').children].map((child) => child.dataset.key);
  if (wanted.join('\n') === shown.join('\n')) return;
  $('warnings').replaceChildren(...told.warnings.map(({ level, text }, at) =>
    element('p', { class: 'warning', 'data-level': level, 'data-key': wanted[at] }, element('strong', {}, WORDS[level]), text)));
}

// Rows by id, so that a row stays the same element for as long as it is shown.
const rows = { queues: new Map(), agents: new Map() };

function rowOf(kind, id, make) {
  let row = rows[kind].get(id);
  if (!row) rows[kind].set(id, (row = make()));
  return row;
}

function forgetRows(kind, shown) {
  const keep = new Set(shown);
  for (const [id, row] of rows[kind]) if (!keep.has(row)) rows[kind].delete(id);
}

const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : a - b);

function sorted(list, { key, up }, value, id) {
  const keyed = list.map((item) => [value(item, key), item]);
  keyed.sort(([a, left], [b, right]) => (up ? compare(a, b) : compare(b, a)) || compare(id(left), id(right)));
  return keyed.map(([, item]) => item);
}

function makeQueueRow(id) {
  const name = element('button', { type: 'button', title: 'show its agents' });
  name.addEventListener('click', () => {
    state.agentQueue = state.agentQueue === id ? '' : id;
    filtersPending = true;
    keepInAddress();
    draw();
    $('agents').scrollIntoView({ block: 'nearest' });
  });
  const bar = element('div', { class: 'members', role: 'img' }, ...STATES.map(([state]) => element('span', { 'data-state': state })));
  const cells = ['wide', ...STATES.map(() => ''), '', ''].map((cls) => element('td', cls ? { class: cls } : {}));
  cells[0].append(bar);
  return element('tr', {}, element('th', { scope: 'row' }, name), ...cells);
}

function drawQueueRow(row, queue) {
  const [head, members, ...cells] = row.children;
  setText(head.firstChild, queue.name);
  setAttribute(head.firstChild, 'aria-pressed', String(state.agentQueue === queue.id));
  const all = queue.agents.reduce((a, b) => a + b, 0);
  const bar = members.firstChild;
  queue.agents.forEach((count, at) => {
    bar.children[at].style.flexGrow = String(count);
    setText(cells[at], String(count));
    setAttribute(cells[at], 'class', count ? '' : 'zero');
  });
  setAttribute(bar, 'aria-label', all
    ? STATES.map(([, title], at) => [queue.agents[at], title.toLowerCase()]).filter(([count]) => count).map((pair) => pair.join(' ')).join(', ')
    : 'no members');
  const nobody = queue.agents[0] === 0 && all > queue.agents[4];
  setAttribute(cells[0], 'class', nobody ? 'alarm' : queue.agents[0] ? '' : 'zero');
  setText(cells[5], String(queue.phantom));
  setAttribute(cells[5], 'class', queue.phantom ? '' : 'zero');
  setText(cells[6], since(queue.idleSince));
}

const queueValue = (queue, key) => {
  if (key === 'name') return queue.name;
  if (key === 'phantom') return queue.phantom;
  if (key === 'idle') return queue.idleSince ? now() - Date.parse(queue.idleSince) : -1;
  return queue.agents[Number(key)];
};

function drawQueues() {
  const search = state.queueSearch.toLowerCase();
  const found = [...queues.values()].filter((queue) => queue.name.toLowerCase().includes(search));
  const shown = sorted(found, state.queueSort, queueValue, (queue) => queue.id).slice(0, QUEUE_ROWS_MAX);
  const body = $('queue-table').tBodies[0];
  const made = shown.map((queue) => {
    const row = rowOf('queues', queue.id, () => makeQueueRow(queue.id));
    drawQueueRow(row, queue);
    return row;
  });
  arrange(body, made);
  forgetRows('queues', made);
  const more = found.length - shown.length;
  setText($('queue-note'), [
    `${found.length} of ${queues.size} queues.`,
    more > 0 ? `${more} are not shown; narrow the filter.` : '',
    'An agent counts in each of its queues.',
  ].filter(Boolean).join(' '));
}

function makeAgentRow(id) {
  const cells = [{}, {}, {}, { class: 'names' }, {}].map((attributes) => element('td', attributes));
  cells[0].append(element('span', { class: 'state' }));
  return element('tr', {}, element('th', { scope: 'row' }, id), ...cells);
}

function drawAgentRow(row, agent) {
  const [, current, time, presence, names, remarks] = row.children;
  setText(current.firstChild, STATE_TITLES[agent.state]);
  setAttribute(current.firstChild, 'data-state', agent.state);
  setText(time, since(agent.since));
  setAttribute(time, 'title', agent.since ? `since ${clock(agent.since)}` : 'not known yet');
  setText(presence, agent.presence);
  setText(names, agent.queues.map((id) => queues.get(id)?.name ?? id).join(', '));
  const marks = [
    agent.phantom && 'phantom', agent.volatile && 'volatile', agent.stuck && 'stuck on call', agent.wrapup && `code ${agent.wrapup}`,
  ].filter(Boolean);
  if (marks.join('\n') !== [...remarks.children].map((mark) => mark.textContent).join('\n')) {
    remarks.replaceChildren(...marks.map((mark) => element('span', { class: 'remark' }, mark)));
  }
}

const agentValue = (agent, key) => {
  // Longest in the state first when rising; who has no known start comes last.
  if (key === 'since') return agent.since ? Date.parse(agent.since) : Number.MAX_SAFE_INTEGER;
  if (key === 'state') return STATES.findIndex(([name]) => name === agent.state);
  return agent[key];
};

function drawAgents() {
  const search = state.agentSearch.toLowerCase();
  const found = [...agents.values()].filter((agent) =>
    (!state.agentState || agent.state === state.agentState)
    && (!state.agentQueue || agent.queues.includes(state.agentQueue))
    && (state.offline || agent.presence !== 'Offline' || agent.state !== 'not_ready')
    && agent.id.toLowerCase().includes(search));
  const shown = sorted(found, state.agentSort, agentValue, (agent) => agent.id).slice(0, AGENT_ROWS_MAX);
  const made = shown.map((agent) => {
    const row = rowOf('agents', agent.id, () => makeAgentRow(agent.id));
    drawAgentRow(row, agent);
    return row;
  });
  arrange($('agent-table').tBodies[0], made);
  forgetRows('agents', made);
  const more = found.length - shown.length;
  setText($('agent-note'), `${found.length} of ${agents.size} agents.${more > 0 ? ` ${more} are not shown; narrow the filter.` : ''}`);
}

function drawFilters() {
  if (!filtersPending) return;
  filtersPending = false;
  const byName = [...queues.values()].sort((a, b) => compare(a.name, b.name));
  const options = byName.map(({ id, name }) => element('option', { value: id }, name));
  // A queue that a link names may have gone, or not have come yet.
  if (state.agentQueue && !queues.has(state.agentQueue)) options.push(element('option', { value: state.agentQueue }, state.agentQueue));
  $('agent-queue').replaceChildren(element('option', { value: '' }, 'all'), ...options);
  $('agent-queue').value = state.agentQueue;
  $('agent-state').value = state.agentState;
  $('queue-search').value = state.queueSearch;
  $('agent-search').value = state.agentSearch;
  $('agent-offline').checked = state.offline !== '';
  $('zone').value = state.zone;
}

// Only where there is a choice.
function drawOrganisations() {
  const { organisations, org } = told;
  $('org-choice').hidden = organisations.length === 0;
  const shown = [...$('org').options].map(({ value }) => value);
  if (shown.join() !== organisations.join()) {
    $('org').replaceChildren(...organisations.map((name) => element('option', { value: name }, name)));
  }
  if ($('org').value !== org) $('org').value = org;
}

function drawSort(table, { key, up }) {
  for (const button of table.tHead.querySelectorAll('button')) {
    const head = button.closest('th');
    if (button.dataset.sort === key) head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    else head.removeAttribute('aria-sort');
  }
}

function draw() {
  if (!told) return;
  drawOrganisations();
  drawFilters();
  drawWarnings();
  drawHealth();
  drawOrganisation();
  drawQueues();
  drawAgents();
}

// Only what ages: once a second, for the rows that are there.
function tick() {
  drawLink();
  if (!told) return;
  drawHealth();
  for (const [id, row] of rows.queues) if (queues.has(id)) setText(row.lastChild, since(queues.get(id).idleSince));
  for (const [id, row] of rows.agents) if (agents.has(id)) setText(row.children[2], since(agents.get(id).since));
}

function drawLink() {
  const lost = performance.now() - heardAt > SILENCE_MS_MAX;
  const link = !told ? 'connecting' : lost ? 'lost' : 'live';
  setAttribute($('link'), 'data-link', link);
  setText($('link'), { connecting: 'connecting', lost: 'connection to the exporter lost; figures stand still', live: 'live' }[link]);
  document.body.classList.toggle('lost', link === 'lost');
}

// ---- what the exporter says

function take(update) {
  heardAt = performance.now();
  clockOffset = Date.parse(update.at) - Date.now();
  if (update.whole) {
    queues.clear();
    agents.clear();
  }
  const before = [...queues.values()].map(({ id, name }) => id + name).join();
  for (const id of update.queuesGone) queues.delete(id);
  for (const id of update.agentsGone) agents.delete(id);
  for (const queue of update.queues) queues.set(queue.id, queue);
  for (const agent of update.agents) agents.set(agent.id, agent);
  if (before !== [...queues.values()].map(({ id, name }) => id + name).join()) filtersPending = true;
  told = update;
  drawLink();
  draw();
}

let stream;

function follow() {
  stream?.close();
  const asked = new EventSource(`api/v1/stream${state.org ? `?org=${encodeURIComponent(state.org)}` : ''}`);
  stream = asked;
  stream.addEventListener('message', ({ data }) => take(JSON.parse(data)));
  stream.addEventListener('error', () => {
    if (stream !== asked) return;
    heardAt = -Infinity;
    drawLink();
    // A browser connects again by itself after a broken connection, but not after a refusal.
    if (asked.readyState === EventSource.CLOSED) setTimeout(() => { if (stream === asked) follow(); }, 2000);
  });
}

// ---- what the reader wants: in the address, so that it can be sent to somebody

const ADDRESSED = { org: 'org', queue: 'agentQueue', state: 'agentState', agent: 'agentSearch', find: 'queueSearch', offline: 'offline' };

function keepInAddress() {
  const wanted = new URLSearchParams();
  for (const [name, key] of Object.entries(ADDRESSED)) if (state[key]) wanted.set(name, state[key]);
  if (state.zone !== 'UTC') wanted.set('zone', state.zone);
  history.replaceState(null, '', wanted.size ? `#${wanted}` : location.pathname + location.search);
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const [name, key] of Object.entries(ADDRESSED)) state[key] = wanted.get(name) ?? '';
  if (!STATE_TITLES[state.agentState]) state.agentState = '';
  state.zone = wanted.get('zone') === 'local' ? 'local' : 'UTC';
  filtersPending = true;
}

function onInput(id, key) {
  $(id).addEventListener('input', ({ target }) => {
    state[key] = target.type === 'checkbox' ? (target.checked ? 'yes' : '') : target.value;
    keepInAddress();
    draw();
  });
}

function sortable(table, key) {
  drawSort(table, state[key]);
  table.tHead.addEventListener('click', ({ target }) => {
    const wanted = target.closest('button')?.dataset.sort;
    if (!wanted) return;
    const textual = ['name', 'id', 'state', 'presence', 'since'].includes(wanted);
    state[key] = { key: wanted, up: state[key].key === wanted ? !state[key].up : textual };
    drawSort(table, state[key]);
    draw();
  });
}

$('agent-state').append(...STATES.map(([name, title]) => element('option', { value: name }, title)));
onInput('zone', 'zone');
onInput('queue-search', 'queueSearch');
onInput('agent-queue', 'agentQueue');
onInput('agent-state', 'agentState');
onInput('agent-search', 'agentSearch');
onInput('agent-offline', 'offline');
sortable($('queue-table'), 'queueSort');
sortable($('agent-table'), 'agentSort');
$('org').addEventListener('input', ({ target }) => {
  // What was chosen by the ids of one says nothing in another.
  Object.assign(state, { org: target.value, agentQueue: '', agentSearch: '' });
  filtersPending = true;
  keepInAddress();
  follow();
});
addEventListener('hashchange', () => {
  const { org } = state;
  readAddress();
  if (state.org !== org) follow();
  draw();
});
readAddress();
follow();
setInterval(tick, 1000);
