// The board of an exporter of two organisations, in headless Chromium: it shows one at a time. The
// live test starts it with the exporter's address and how many agents each of them has.
import assert from 'node:assert/strict';
import { open } from './browser.mjs';

const [url, ...expected] = process.argv.slice(2);
const sizes = expected.map((pair) => pair.split('='));

const { browser, page, complaints, until } = await open();
const shows = (agents) => until(
  (agents) => document.getElementById('agent-note').textContent.includes(`of ${agents} agents`), agents);

await page.goto(url);
await shows(sizes[0][1]);
assert.deepEqual(await page.locator('#org option').allTextContents(), sizes.map(([name]) => name));
assert.ok(await page.locator('#org').isVisible());
for (const [name, agents] of sizes.toReversed()) {
  await page.locator('#org').selectOption(name);
  await shows(agents);
  assert.equal(new URLSearchParams(new URL(page.url()).hash.slice(1)).get('org'), name);
}
// The address keeps it, so that it can be sent to somebody.
const [last, agents] = sizes.at(-1);
await page.goto(`${url}#org=${last}`);
await page.reload();
await shows(agents);
assert.equal(await page.locator('#org').inputValue(), last);
assert.deepEqual(complaints, []);
await browser.close();
console.log('passed');
