// Draws one dashboard with Grafana's own components: data and layout come in as window.INPUT.
// What npm does not have (state-timeline, row) is drawn here and only looks similar.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { FieldConfigOptionsRegistry, FieldType, ThemeContext, applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime,
  displayNameOverrideProcessor, getDisplayValueAlignmentFactors, getFieldDisplayValues, numberOverrideProcessor, standardTransformers, standardTransformersRegistry,
  stringOverrideProcessor, thresholdsOverrideProcessor, toDataFrame, transformDataFrame, unitOverrideProcessor,
  valueMappingsOverrideProcessor } from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { firstValueFrom } from 'rxjs';

const { dashboard, results, range } = window.INPUT;
const theme = createTheme({ colors: { mode: 'dark' } });
const timeRange = { from: dateTime(range.from), to: dateTime(range.to), raw: { from: 'now', to: 'now' } };
const problems = [];
console.error = (...words) => problems.push(words.join(' ').slice(0, 300));
window.addEventListener('error', (event) => problems.push(String(event.message)));

// Outside Grafana the registries are empty.
const pass = (value) => value;
const option = (path, process, isCustom = false) => ({
  id: isCustom ? `custom.${path}` : path, path, name: path, isCustom, override: process, process, shouldApply: () => true, getDefault: () => undefined,
});
const registry = new FieldConfigOptionsRegistry(() => [
  option('displayName', displayNameOverrideProcessor), option('unit', unitOverrideProcessor), option('noValue', stringOverrideProcessor),
  ...['min', 'max', 'decimals'].map((name) => option(name, numberOverrideProcessor)),
  option('thresholds', thresholdsOverrideProcessor), option('mappings', valueMappingsOverrideProcessor), option('color', pass),
  ...['cellOptions', 'width', 'align', 'filterable', 'drawStyle', 'lineInterpolation', 'lineWidth', 'lineStyle', 'fillOpacity', 'gradientMode', 'showPoints',
    'spanNulls', 'stacking', 'axisPlacement', 'axisLabel', 'axisSoftMax', 'thresholdsStyle', 'scaleDistribution'].map((name) => option(name, pass, true)),
]);
standardTransformersRegistry.setInit(() => {
  const wanted = new Map();
  for (const transformer of Object.values(standardTransformers)) {
    wanted.set(transformer.id, { id: transformer.id, name: transformer.id, transformation: async () => transformer, editor: () => null });
  }
  return [...wanted.values()];
});

function legend(format, labels, fallback) {
  if (format === '__auto' || !format) return fallback;
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
}
const number = (value) => { const parsed = Number(value); return Number.isFinite(parsed) ? parsed : null; };

function frames(panel) {
  return panel.targets.flatMap((target) => {
    const series = results[`${panel.id}/${target.refId}`] ?? [];
    if (target.format === 'table') {
      if (!series.length) return [];
      const names = Object.keys(series[0].metric);
      return [toDataFrame({ refId: target.refId, fields: [
        { name: 'Time', type: FieldType.time, values: series.map((one) => one.value[0] * 1000) },
        ...names.map((name) => ({ name, type: FieldType.string, values: series.map((one) => one.metric[name]) })),
        { name: panel.targets.length > 1 ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: series.map((one) => number(one.value[1])) },
      ] })];
    }
    return series.map((one) => {
      const samples = one.values ?? [one.value];
      const name = legend(target.legendFormat, one.metric, 'Value');
      return toDataFrame({ refId: target.refId, name, fields: [
        { name: 'Time', type: FieldType.time, values: samples.map((pair) => pair[0] * 1000) },
        { name: 'Value', type: FieldType.number, labels: one.metric, values: samples.map((pair) => number(pair[1])), config: { displayNameFromDS: name } },
      ] });
    });
  });
}

async function prepared(panel) {
  const raw = frames(panel);
  const shaped = panel.transformations ? await firstValueFrom(transformDataFrame(panel.transformations, raw)) : raw;
  const data = applyFieldOverrides({ data: shaped, fieldConfig: panel.fieldConfig, replaceVariables: pass, theme, timeZone: 'utc', fieldConfigRegistry: registry });
  cacheFieldDisplayNames(data);
  return data;
}

function values(panel, data) {
  return getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: pass, theme, data, sparkline: panel.type === 'stat', timeZone: 'utc' });
}

function Timeline({ panel, data, width, height }) {
  const names = data.map((frame) => String(frame.fields[1].state?.displayName ?? frame.name));
  const left = 24 + 6.6 * Math.max(...names.map((name) => name.length)), bottom = 24, row = (height - bottom) / Math.max(1, data.length);
  const x = (ms) => left + ((ms - range.from) / (range.to - range.from)) * (width - left);
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map((part) => range.from + part * (range.to - range.from));
  return <svg width={width} height={height} fontFamily={theme.typography.fontFamily} fontSize="12">
    {data.map((frame, at) => {
      const [time, value] = frame.fields;
      const stretches = [];
      time.values.forEach((ms, index) => {
        const last = stretches.at(-1);
        if (last && last.value === value.values[index]) last.to = ms; else { if (last) last.to = ms; stretches.push({ from: ms, to: ms, value: value.values[index] }); }
      });
      return <g key={at}>
        <text x={left - 8} y={at * row + row / 2 + 4} textAnchor="end" fill={theme.colors.text.secondary}>{names[at]}</text>
        {stretches.map((stretch, index) => {
          const shown = value.display(stretch.value);
          const wide = x(stretch.to) - x(stretch.from);
          return <g key={index}>
            <rect x={x(stretch.from)} y={at * row + row * 0.1} width={Math.max(1, wide)} height={row * 0.8} fill={shown.color} fillOpacity="0.85" />
            {wide > 64 && <text x={x(stretch.from) + 6} y={at * row + row / 2 + 4} fill="#111">{shown.text}</text>}
          </g>;
        })}
      </g>;
    })}
    {ticks.map((ms, index) => <text key={ms} x={x(ms)} y={height - 6} textAnchor={index === 5 ? 'end' : 'middle'} fill={theme.colors.text.secondary}>{new Date(ms).toISOString().slice(11, 16)}</text>)}
  </svg>;
}

function Visualisation({ panel, data, width, height }) {
  const common = { width, height };
  if (!data.length) {
    return <div style={{ ...common, display: 'flex', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary }}>No data</div>;
  }
  switch (panel.type) {
    case 'timeseries':
      return <TimeSeries {...common} frames={data} timeRange={timeRange} timeZone="utc" legend={panel.options.legend} options={panel.options} />;
    case 'table':
      return <TableNG {...common} width={width - 8} data={data[0]} noHeader={false} initialSortBy={panel.options.sortBy} fieldConfig={panel.fieldConfig} cellHeight="sm" getActions={() => []} structureRev={1} />;
    case 'state-timeline':
      return <Timeline panel={panel} data={data} {...common} />;
    case 'stat':
      return <VizRepeater {...common} source={data} getValues={() => values(panel, data)} orientation="auto" autoGrid
        renderValue={({ value, width, height }) => <BigValue value={value.display} sparkline={value.sparkline} colorMode="value" graphMode="area" textMode="value" justifyMode="auto" width={width} height={height} theme={theme} />} />;
    case 'bargauge':
      return <VizRepeater {...common} source={data} getValues={() => values(panel, data)} getAlignmentFactors={getDisplayValueAlignmentFactors} orientation="horizontal" itemSpacing={4} minVizHeight={14}
        renderValue={({ value, width, height, alignmentFactors }) => <BarGauge value={{ ...value.display, title: value.display.title ?? value.name }} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex)} width={width} height={height} orientation="horizontal" displayMode="gradient" itemSpacing={4} lcdCellWidth={12} theme={theme} alignmentFactors={alignmentFactors} showUnfilled valueDisplayMode="color" namePlacement="left" />} />;
    default:
      throw new Error(`no drawing for ${panel.type}`);
  }
}

class Boundary extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { problems.push(`${this.props.title}: ${error.message}`); }
  render() { return this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children; }
}

const GAP = 8, UNIT = 30, HEAD = 46;
function Board({ drawn, width }) {
  const column = (width - GAP) / 24;
  const place = ({ x, y, w, h }) => ({ position: 'absolute', left: GAP + x * column, top: HEAD + y * (UNIT + GAP), width: w * column - GAP, height: h * (UNIT + GAP) - GAP });
  return <div style={{ position: 'relative' }}>
    <div style={{ position: 'absolute', left: GAP + 4, top: 12, right: 12, display: 'flex', justifyContent: 'space-between', color: theme.colors.text.primary, fontSize: 18 }}>
      <span>{dashboard.title}</span>
      <span style={{ fontSize: 12, color: theme.colors.text.secondary }}>simulated organisation · drawn with Grafana's UI components, not by a Grafana server</span>
    </div>
    {drawn.map(({ panel, data }) => {
      const box = place(panel.gridPos);
      if (panel.type === 'row') return <div key={panel.id} style={{ ...box, lineHeight: `${box.height}px`, fontSize: 16, fontWeight: 500, color: theme.colors.text.primary }}>⌄ {panel.title}</div>;
      return <div key={panel.id} style={box}><Boundary title={panel.title}>
        <PanelChrome title={panel.title} width={box.width} height={box.height} padding={panel.type === 'table' ? 'none' : 'md'}>
          {(width, height) => <Visualisation panel={panel} data={data} width={width} height={height} />}
        </PanelChrome></Boundary></div>;
    })}
  </div>;
}

async function main() {
  const root = createRoot(document.getElementById('root'));
  const framed = (children) => <ThemeContext.Provider value={theme}><GlobalStyles hackNoBackdropBlur isExtensionSidebarOpen={false} />{children}</ThemeContext.Provider>;
  root.render(framed(null));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await Promise.all(['400 14px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  const drawn = [];
  for (const panel of dashboard.panels) drawn.push({ panel, data: panel.type === 'row' ? [] : await prepared(panel) });
  root.render(framed(<Board drawn={drawn} width={window.innerWidth} />));
  await new Promise((resolve) => setTimeout(resolve, 2500));
  await fetch('/report', { method: 'POST', body: JSON.stringify({ problems, text: document.body.innerText }) });
}
main().catch((error) => fetch('/report', { method: 'POST', body: JSON.stringify({ problems: [...problems, String(error.stack)], text: '' }) }));
