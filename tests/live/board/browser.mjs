// Chromium as every machine has it: $CHROMIUM, or `chromium` of Debian's package.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

// A page in a browser of its own; beside it whatever the page complains of, unless `quiet` says that
// this is no time to.
export async function open(quiet = () => false) {
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  page.setDefaultTimeout(40_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !quiet()) complaints.push(message.text());
  });
  const until = (what, argument) => page.waitForFunction(what, argument, { polling: 100 });
  return { browser, page, complaints, until };
}

export async function launch() {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing: install Debian's package chromium, or name another in CHROMIUM`);
  }
  return chromium.launch({
    executablePath,
    // As root, as in a container, Chromium has no sandbox; and it shall ask nobody but us.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}
