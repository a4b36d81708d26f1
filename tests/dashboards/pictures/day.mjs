// Draws the dashboards from a simulated day in a real Prometheus, as the pictures of the README were made:
//   npm ci && node day.mjs ../../../target/release/genesys-cloud-exporter
//   node day.mjs BINARY [HOURS] [END] [DIRECTORY]     (24, 2026-05-13T00:00:00Z, dashboards/images)
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const [binary, hours = '24', end = '2026-05-13T00:00:00Z', images = join(here, '../../../dashboards/images')] = process.argv.slice(2);
if (!binary) throw new Error('usage: node day.mjs BINARY [HOURS] [END] [DIRECTORY]');
const seconds = (from) => ((Date.now() - from) / 1000).toFixed(1);
const scratch = mkdtempSync(join(tmpdir(), 'simulated-day-'));
const run = (program, ...words) => {
  const from = Date.now();
  execFileSync(program, words, { cwd: scratch, stdio: ['ignore', 'inherit', 'inherit'] });
  console.log(`${program.split('/').at(-1)}: ${seconds(from)} s`);
};

let prometheus;
try {
  run(resolve(binary), 'simulate', 'history', '--hours', hours, '--end', end, '--per-agent', '--output', 'day.om');
  console.log(`day.om: ${(statSync(join(scratch, 'day.om')).size / 1e6).toFixed(0)} MB`);
  // The file is read anew for each block: one long block instead of a dozen of two hours.
  run('promtool', 'tsdb', 'create-blocks-from', 'openmetrics', '--quiet', '--max-block-duration=24h', 'day.om', 'data');
  writeFileSync(join(scratch, 'prometheus.yml'), 'global: { scrape_interval: 30s }\n');
  prometheus = spawn('prometheus', ['--config.file=prometheus.yml', '--storage.tsdb.path=data', '--web.listen-address=127.0.0.1:0'], { cwd: scratch, stdio: ['ignore', 'ignore', 'pipe'] });
  const url = await new Promise((found, failed) => {
    let log = '';
    prometheus.stderr.on('data', (part) => {
      log += part;
      const port = /msg="Listening on" address=127\.0\.0\.1:([1-9]\d*)/.exec(log);
      if (port) found(`http://127.0.0.1:${port[1]}`);
    });
    prometheus.on('exit', () => failed(new Error(`prometheus ended:\n${log}`)));
    prometheus.on('error', failed);
  });
  for (let ready = false; !ready;) {
    ready = (await fetch(`${url}/-/ready`)).status === 200;
  }
  run('node', join(here, 'draw.mjs'), url, String(60 * Number(hours)), String(Date.parse(end) / 1000), resolve(images));
} finally {
  prometheus?.removeAllListeners('exit');
  prometheus?.kill();
  rmSync(scratch, { recursive: true, force: true });
}
