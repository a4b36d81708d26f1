// Draws the dashboards of dashboards/ as PNG, with the data of a running Prometheus:
//   npm ci && node draw.mjs http://127.0.0.1:9090 [MINUTES] [END, seconds since 1970] [DIRECTORY]
// (15, now, dashboards/images). day.mjs does it for a simulated day.
// It fails on a refused query, on an error while drawing, and on text that betrays a bug.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import sharp from 'sharp';

const here = dirname(fileURLToPath(import.meta.url));
const dashboards = join(here, '../../../dashboards');
const [prometheus = 'http://127.0.0.1:9090', minutes = '15', end = Math.floor(Date.now() / 1000), images = join(dashboards, 'images')] = process.argv.slice(2);
const WIDTH = 1500;
const whole = { to: Number(end), from: Number(end) - Number(minutes) * 60 };
// Single agents are looked at for hours, not for a day: some of them, when most are at work.
const hours = { to: whole.to - Number(minutes) * 20, from: whole.to - Number(minutes) * 20 - Math.min(10800, Number(minutes) * 40) };
// The upper part of each dashboard, in units of the grid: as much as one picture shows well.
const PICTURES = { 'availability.json': { bottom: 50, range: whole }, 'pipeline-health.json': { bottom: 42, range: whole }, 'agent-detail.json': { bottom: 40, range: hours } };

async function ask(path, parameters) {
  const answer = await (await fetch(`${prometheus}${path}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result ?? answer.data;
}

async function data(dashboard, { from, to }) {
  // As Grafana would: a point for each few pixels, no finer than scrapes.
  const step = Math.max(5, Math.round((to - from) / 360 / 5) * 5);
  const query = `changes(genesyscloud_agent_state_entered_timestamp_seconds[${to - from}s]) > 12`;
  const agents = (await ask('/api/v1/query', { query, time: to })).map((one) => one.metric.agent).sort().slice(0, 8);
  const chosen = { agent: `(${agents.join('|')})` };
  const fill = (expr) => expr.replace(/"\$(\w+)"/g, (_, name) => `"${chosen[name] ?? (name === 'org' ? '.*' : '.+')}"`).replaceAll('$__rate_interval', `${Math.max(120, step + 30)}s`).replaceAll('$__range', `${to - from}s`);
  const results = {};
  for (const panel of dashboard.panels) {
    for (const target of panel.targets ?? []) {
      const query = fill(target.expr);
      results[`${panel.id}/${target.refId}`] = target.instant
        ? await ask('/api/v1/query', { query, time: to })
        : await ask('/api/v1/query_range', { query, start: from, end: to, step });
    }
  }
  return results;
}

const scratch = mkdtempSync(join(tmpdir(), 'pictures-'));
await build({ entryPoints: [join(here, 'page.jsx')], outfile: join(scratch, 'page.js'), bundle: true, format: 'iife', jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'globalThis' }, loader: { '.woff2': 'file', '.svg': 'dataurl', '.ttf': 'empty' } });

let input = '', report;
const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://x').pathname;
  const send = (body, type) => { response.writeHead(200, { 'content-type': type }); response.end(body); };
  if (path === '/report') { let body = ''; request.on('data', (part) => (body += part)); request.on('end', () => { report = JSON.parse(body); send('', 'text/plain'); }); return; }
  if (path === '/') return send(`<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><style>body{margin:0}</style><body><div id="root"></div><script>window.INPUT=${input}</script><script src="/page.js"></script>`, 'text/html');
  if (path === '/page.js' || path === '/page.css') return existsSync(join(scratch, path)) ? send(readFileSync(join(scratch, path)), path.endsWith('js') ? 'text/javascript' : 'text/css') : send('', 'text/css');
  const font = /Inter-(Regular|Medium|Italic)\.woff2$/.exec(path);
  if (font) return send(readFileSync(join(here, `node_modules/@fontsource/inter/files/inter-latin-${font[1] === 'Medium' ? 500 : 400}-${font[1] === 'Italic' ? 'italic' : 'normal'}.woff2`)), 'font/woff2');
  if (path.endsWith('.woff2')) return send(readFileSync(join(here, 'node_modules/@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2')), 'font/woff2');
  const icon = /img\/icons\/(.+\.svg)$/.exec(path);
  const file = icon && join(here, 'node_modules/@grafana/ui/dist/public/img/icons', icon[1]);
  if (file && existsSync(file)) return send(readFileSync(file), 'image/svg+xml');
  response.writeHead(404); response.end();
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}/`;

let failed = false;
mkdirSync(images, { recursive: true });
for (const [name, { bottom, range }] of Object.entries(PICTURES)) {
  const dashboard = JSON.parse(readFileSync(join(dashboards, name)));
  dashboard.panels = dashboard.panels.filter(({ gridPos }) => gridPos.y + gridPos.h <= bottom);
  const height = 46 + 38 * Math.max(...dashboard.panels.map((panel) => panel.gridPos.y + panel.gridPos.h));
  input = JSON.stringify({ dashboard, results: await data(dashboard, range), range: { from: range.from * 1000, to: range.to * 1000 } }).replaceAll('<', '\\u003c');
  report = undefined;
  const picture = join(images, name.replace('.json', '.png'));
  const profile = mkdtempSync(join(scratch, 'profile-'));
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--hide-scrollbars',
    '--virtual-time-budget=12000', `--user-data-dir=${profile}`, `--window-size=${WIDTH},${height}`, `--screenshot=${picture}`, url];
  await new Promise((resolve) => spawn('chromium', flags, { stdio: 'ignore' }).on('exit', resolve));
  // A palette: a third of the size, and nobody sees the difference on flat colours.
  writeFileSync(picture, await sharp(readFileSync(picture)).png({ palette: true, colours: 256, dither: 0, effort: 10 }).toBuffer());
  const bad = report ? [...report.problems, ...(report.text.match(/NaN|undefined|\$\w+|\{\{/g) ?? [])] : ['the page did not report'];
  console.log(`${name}: ${height} px, ${bad.length ? bad.join('\n  ') : 'fine'}${report?.text.includes('No data') ? ' (with panels without data)' : ''}`);
  failed ||= bad.length > 0;
}
server.close();
rmSync(scratch, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
