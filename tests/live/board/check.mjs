// Drives the board in headless Chromium. The live test starts it with the exporter's address, and
// does what a line of its output asks for: `break`, `mend`, `kill`, `start`. It answers with a line.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { open } from './browser.mjs';

const [url] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const BOUND = 40_000;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(what) {
  console.log(what);
  assert.equal((await answers.next()).value, 'done', what);
}

let down = false;
// While the exporter is down the browser says that it cannot connect.
const { browser, page, complaints, until } = await open(() => down);

const linked = (how) => until((how) => document.getElementById('link').dataset.link === how, how);
const warned = (text) => until((text) => document.getElementById('warnings').textContent.includes(text), text);
const tile = (title) => page.evaluate((title) =>
  [...document.querySelectorAll('#health > div')].find((one) => one.firstChild.textContent === title).lastChild.textContent, title);
const marked = () => page.evaluate(() => [...document.querySelectorAll('#health [data-bad="true"] dt')].map((one) => one.textContent));
const shown = () => page.evaluate(() =>
  [...document.querySelectorAll('#agent-table tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)));
const STATES = { Available: 'Available', NotReady: 'Not ready', OnCall: 'On call', WrapUp: 'Wrap-up', Unknown: 'Unknown' };

async function accessible(scheme) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.ok(passes.length > 10, 'the rules were applied');
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html).slice(0, 3)]), [], scheme);
}

// It loads, and shows what the API says.
const response = await page.goto(url);
assert.equal(response.status(), 200);
await linked('live');
await page.check('#agent-offline');
await until(() => document.querySelectorAll('#agent-table tbody tr').length > 20);
const end = Date.now() + BOUND;
for (;;) {
  const api = await (await fetch(new URL('api/v1/agents', url))).json();
  const wanted = api.agents.map((agent) => [agent.userId, STATES[agent.routingAvailability]].join(' ')).sort();
  const seen = (await shown()).map(([id, state]) => [id, state].join(' ')).sort();
  if (JSON.stringify(wanted) === JSON.stringify(seen)) break;
  assert.ok(Date.now() < end, `the board shows something else than the API:\n${wanted}\n${seen}`);
}
const { queues } = await (await fetch(new URL('api/v1/queues', url))).json();
assert.deepEqual(
  (await page.locator('#queue-table tbody th').allTextContents()).sort(), queues.map((queue) => queue.name).sort());

// It follows: a state changes and ages tick, in the same document.
await page.evaluate(() => { window.sameDocument = true; });
const before = Object.fromEntries((await shown()).map(([id, state]) => [id, state]));
await until((before) => [...document.querySelectorAll('#agent-table tbody tr')].some((row) => {
  const [id, state] = [...row.children].map((cell) => cell.textContent);
  return id in before && before[id] !== state;
}), before);
const first = await page.evaluate(() => document.querySelector('#agent-table tbody tr td:nth-child(3)').textContent);
await until((first) => document.querySelector('#agent-table tbody tr td:nth-child(3)').textContent !== first, first);
assert.ok(await page.evaluate(() => window.sameDocument), 'nothing was loaded anew');

// It filters by queue, by state and by id, by keyboard alone; and the address keeps it.
const queue = queues[0];
await page.getByRole('button', { name: queue.name, exact: true }).focus();
await page.keyboard.press('Enter');
await until((name) => [...document.querySelectorAll('#agent-table tbody td.names')].every((cell) => cell.textContent.split(', ').includes(name)), queue.name);
const members = Object.values(queue.members).reduce((a, b) => a + b, 0);
assert.ok(members > 0 && (await shown()).length > 0);
await page.selectOption('#agent-state', 'not_ready');
await until(() => [...document.querySelectorAll('#agent-table tbody td:nth-child(2)')].every((cell) => cell.textContent === 'Not ready'));
assert.match(page.url(), /#queue=[^&]+&state=not_ready/);
await page.selectOption('#agent-queue', '');
await page.selectOption('#agent-state', '');
const [someone] = Object.keys(before);
await page.fill('#agent-search', someone);
await until((id) => {
  const rows = [...document.querySelectorAll('#agent-table tbody th')];
  return rows.length === 1 && rows[0].textContent === id;
}, someone);
await page.fill('#agent-search', '');
await page.locator('#queue-table thead button[data-sort="2"]').focus();
await page.keyboard.press('Enter');
await until(() => {
  const counts = [...document.querySelectorAll('#queue-table tbody tr')].map((row) => Number(row.children[4].textContent));
  return document.querySelector('#queue-table th[aria-sort="descending"]') && counts.every((count, at) => at === 0 || counts[at - 1] >= count);
});

// Screen readers and those who see little contrast can use it.
await accessible('light');
await accessible('dark');

// It says in words when the figures are not to be trusted, and when they are again.
await ask('break');
await warned('Polling is paused');
assert.equal(await tile('Breaker'), 'open');
assert.ok((await marked()).includes('Breaker'), 'the figure that the warning is about is marked');
await ask('mend');
await until(() => !document.getElementById('warnings').textContent.includes('Polling'));
assert.equal(await tile('Breaker'), 'closed');
assert.ok(!(await marked()).includes('Breaker'));

// It survives a restart of the exporter.
down = true;
await ask('kill');
await linked('lost');
await ask('start');
await linked('live');
await until(() => document.querySelectorAll('#agent-table tbody tr').length > 20);
assert.ok(await page.evaluate(() => window.sameDocument), 'nothing was loaded anew');

assert.deepEqual(complaints, []);
await browser.close();
console.log('passed');
process.exit(0);
