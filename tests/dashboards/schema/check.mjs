// Holds the dashboards against Grafana's published types and registries: npm ci && node check.mjs
// Finds what no server says: a misspelt option, a wrong enum value, an unknown unit, reducer,
// matcher, transformation, colour or colour mode. Each kind of finding is tried out first on a
// dashboard that was spoilt on purpose.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

// @grafana/data expects a browser's navigator, and loads as CommonJS only.
globalThis.navigator ??= { language: 'en', languages: ['en'], userAgent: '' };
const grafana = createRequire(import.meta.url)('@grafana/data');
const here = dirname(fileURLToPath(import.meta.url));
const dashboards = join(here, '../../../dashboards');
const types = join(here, 'node_modules/@grafana/schema/dist/types/raw');

// Folder of a panel's types, and whether it has options for single fields.
const PANELS = { stat: ['stat', false], bargauge: ['bargauge', false], timeseries: ['timeseries', true], table: ['table', true], 'state-timeline': ['statetimeline', true] };
// In every export of Grafana, and not in the published types: a query variable's text, and what the
// Prometheus data source keeps of an annotation.
const UNPUBLISHED = new Set(['definition', 'expr', 'step', 'textFormat', 'titleFormat', 'useValueForTime']);
// What a Prometheus query has; its type is not in @grafana/schema.
const TARGET = new Set(['refId', 'datasource', 'editorMode', 'range', 'instant', 'format', 'legendFormat', 'expr']);

const ajv = new Ajv({ strict: false, allErrors: true });
function validator(path, type) {
  const schema = createGenerator({ path: join(types, path), type, expose: 'none', skipTypeCheck: true, additionalProperties: false }).createSchema(type);
  // Grafana fills defaults in on load: what is required is normally absent.
  const relaxed = JSON.parse(JSON.stringify(schema, (key, value) => (key === 'required' && Array.isArray(value) ? undefined : value)));
  return ajv.compile(relaxed);
}
const ofDashboard = validator('dashboard/x/types.gen.d.ts', 'Dashboard');
const ofPanel = validator('dashboard/x/types.gen.d.ts', 'Panel');
const ofOptions = {}, ofCustom = {};
for (const [type, [folder, custom]] of Object.entries(PANELS)) {
  ofOptions[type] = validator(`composable/${folder}/panelcfg/x/types.gen.d.ts`, 'Options');
  if (custom) ofCustom[type] = validator(`composable/${folder}/panelcfg/x/types.gen.d.ts`, 'FieldConfig');
}

const ids = (registry) => new Set(registry.list().map((item) => item.id));
const units = new Set(grafana.getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
const reducers = ids(grafana.fieldReducers);
const matchers = ids(grafana.fieldMatchers);
const modes = ids(grafana.fieldColorModeRegistry);
const transformations = new Set(Object.values(grafana.standardTransformers).map((one) => one.id));
const theme = grafana.createTheme();
const hues = new Set(theme.visualization.hues.flatMap((hue) => hue.shades.flatMap((shade) => [shade.name, ...(shade.aliases ?? [])])));
const isColour = (name) => /^#[0-9a-f]{6}$/i.test(name) || hues.has(name) || ['text', 'transparent'].includes(name);

function findings(dashboard) {
  const found = [];
  const schema = (where, validate, value) => {
    if (validate(value)) return;
    for (const error of validate.errors) {
      const extra = error.params.additionalProperty;
      if (!UNPUBLISHED.has(extra)) found.push(`${where}${error.instancePath}: ${error.message} ${extra ?? ''}`);
    }
  };
  const known = (where, set, value) => { if (value !== undefined && !set.has(value)) found.push(`${where}: ${value} is not known`); };
  schema('dashboard', ofDashboard, { ...dashboard, panels: [] });
  for (const panel of dashboard.panels.filter((one) => one.type !== 'row')) {
    const where = panel.title;
    if (!ofOptions[panel.type]) { found.push(`${where}: panel type ${panel.type} is not known`); continue; }
    const { custom = {}, ...defaults } = panel.fieldConfig.defaults;
    schema(where, ofPanel, { ...panel, targets: [], fieldConfig: { ...panel.fieldConfig, defaults } });
    schema(`${where} options`, ofOptions[panel.type], panel.options);
    if (ofCustom[panel.type]) schema(`${where} custom`, ofCustom[panel.type], custom);
    for (const target of panel.targets) for (const key of Object.keys(target)) known(`${where} target`, TARGET, key);
    known(`${where} unit`, units, defaults.unit);
    known(`${where} colour mode`, modes, defaults.color?.mode);
    for (const calc of [...(panel.options.legend?.calcs ?? []), ...(panel.options.reduceOptions?.calcs ?? [])]) known(`${where} reducer`, reducers, calc);
    for (const transformation of panel.transformations ?? []) known(`${where} transformation`, transformations, transformation.id);
    const colours = [JSON.stringify(panel.fieldConfig).matchAll(/"(?:color|fixedColor)":"([^"]+)"/g)].flatMap((all) => [...all]).map((match) => match[1]);
    for (const colour of colours) if (!isColour(colour)) found.push(`${where}: colour ${colour} is not known`);
    for (const override of panel.fieldConfig.overrides) {
      known(`${where} matcher`, matchers, override.matcher.id);
      for (const { id, value } of override.properties) {
        if (id === 'unit') known(`${where} override`, units, value);
        if (id.startsWith('custom.') && ofCustom[panel.type]) schema(`${where} override`, ofCustom[panel.type], { [id.slice(7)]: value });
      }
    }
  }
  return found;
}

const read = (name) => JSON.parse(readFileSync(join(dashboards, name)));
const lines = (dashboard) => dashboard.panels.find((panel) => panel.type === 'timeseries');
const SPOILT = {
  'top-level key': (board) => { board.titel = 'x'; },
  'panel key': (board) => { lines(board).describtion = 'x'; },
  'panel type': (board) => { lines(board).type = 'timeserie'; },
  'target key': (board) => { lines(board).targets[0].legend = 'x'; },
  'option': (board) => { lines(board).options.legend.placment = 'right'; },
  'enum value': (board) => { lines(board).options.legend.placement = 'left'; },
  'field option': (board) => { lines(board).fieldConfig.defaults.custom.fillOpacty = 1; },
  'draw style': (board) => { lines(board).fieldConfig.defaults.custom.drawStyle = 'lines'; },
  'unit': (board) => { lines(board).fieldConfig.defaults.unit = 'req/s'; },
  'reducer': (board) => { lines(board).options.legend.calcs = ['last_not_null']; },
  'colour mode': (board) => { lines(board).fieldConfig.defaults.color.mode = 'palette'; },
  'colour': (board) => { lines(board).fieldConfig.defaults.thresholds.steps[0].color = 'bleu'; },
  'transformation': (board) => { lines(board).transformations = [{ id: 'merged', options: {} }]; },
  'matcher': (board) => { lines(board).fieldConfig.overrides = [{ matcher: { id: 'byNam', options: 'x' }, properties: [] }]; },
};
let failed = false;
for (const [kind, spoil] of Object.entries(SPOILT)) {
  const board = read('availability.json');
  const before = findings(board).length;
  spoil(board);
  if (findings(board).length <= before) { failed = true; console.log(`a wrong ${kind} was not found`); }
}
for (const name of readdirSync(dashboards).filter((file) => file.endsWith('.json'))) {
  const found = findings(read(name));
  failed ||= found.length > 0;
  console.log(`${name}: ${found.length ? `\n  ${[...new Set(found)].join('\n  ')}` : 'fine'}`);
}
console.log(`${Object.keys(SPOILT).length} kinds of mistakes were tried out`);
process.exit(failed ? 1 : 0);
