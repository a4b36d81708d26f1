// Pictures of a running board, light and dark, for the README:
//   npm ci && node picture.mjs http://127.0.0.1:10095/ DIRECTORY
import { join } from 'node:path';
import { launch } from './browser.mjs';

const [url, directory] = process.argv.slice(2);
const browser = await launch();
for (const colorScheme of ['light', 'dark']) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 1000 } });
  await page.goto(url);
  await page.waitForSelector('#agent-table tbody tr');
  await page.screenshot({ path: join(directory, `board-${colorScheme}.png`) });
}
await browser.close();
