// The boards of instances that do not poll, in headless Chromium: they say so, and show no agents.
// The live test starts it with the address of an aggregator and that of a poller that stands by.
import assert from 'node:assert/strict';
import { open } from './browser.mjs';

const [aggregator, standby] = process.argv.slice(2);
const { browser, page, complaints, until } = await open();
const warned = (text) => until((text) => document.getElementById('warnings').textContent.includes(text), text);
const tile = (title) => page.evaluate((title) =>
  [...document.querySelectorAll('#health > div')].find((one) => one.firstChild.textContent === title)?.lastChild.textContent, title);

await page.goto(aggregator);
await warned('stores what others poll. Their boards show the agents.');
await until(() => {
  const of = (title) => [...document.querySelectorAll('#health > div')].find((one) => one.firstChild.textContent === title);
  return Number(of('Events stored')?.lastChild.textContent) > 0;
});
assert.equal(await tile('Ready'), 'yes');
assert.equal(await tile('Last snapshot'), undefined);
assert.equal(await page.locator('main section.polled:visible').count(), 0);

await page.goto(standby);
await warned('stands by: another one polls');
assert.equal(await tile('Ready'), 'no');
assert.equal(await page.locator('main section.polled:visible').count(), 0);
assert.equal(await page.locator('main section.polled').count(), 3, 'they are there to be shown');
assert.deepEqual(complaints, []);
await browser.close();
console.log('passed');
