// Chromium as every machine has it: $CHROMIUM, or `chromium` of Debian's package.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

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
