// Holds the manifests of the Prometheus operator against its types: npm ci && node check.mjs
// Kubernetes' own schemas do not know these kinds. The types find a key that does not exist, the
// compiled schemas a value that does not fit; both are tried out on objects spoilt on purpose.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as models from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import ts from 'typescript';
import { parse } from 'yaml';

const here = dirname(fileURLToPath(import.meta.url));
const manifests = join(here, '../../../deploy/kubernetes');
const read = (name) => parse(readFileSync(join(manifests, name), 'utf8'));

// What the compiler says of each object, written out as a literal of its type.
function ofTypes(objects) {
  // Below this folder, so that the packages are found.
  const files = objects.map((_, at) => join(here, 'node_modules', `object-${at}.ts`));
  objects.forEach((object, at) => {
    const type = `I${object.kind}`;
    writeFileSync(files[at], `import type { ${type} } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/${object.kind}';\nexport const object: ${type} = ${JSON.stringify(object, null, 1)};\n`);
  });
  try {
    const program = ts.createProgram(files, { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: [] });
    const found = ts.getPreEmitDiagnostics(program);
    return files.map((file) => found.filter((one) => one.file?.fileName === file).map((one) => ts.flattenDiagnosticMessageText(one.messageText, ' ')));
  } finally {
    files.forEach((file) => rmSync(file));
  }
}

function ofSchema(object) {
  try {
    new models[object.kind](object).validate();
    return [];
  } catch (error) {
    return [error.message];
  }
}

const monitor = read('servicemonitor.yml');
const rules = read('prometheusrule.yml');
const spoilt = (object, change) => {
  const copy = structuredClone(object);
  change(copy);
  return copy;
};
const broken = [
  spoilt(monitor, (object) => { object.spec.endpoints[0].intervall = '15s'; }),
  spoilt(monitor, (object) => { object.spec.endpoints[0].interval = '15 seconds'; }),
  spoilt(monitor, (object) => { object.spec.endpoints[0].relabelings[0].action = 'swap'; }),
  spoilt(rules, (object) => { object.spec.groups[0].rules[0].expression = 'up'; }),
  spoilt(rules, (object) => { delete object.spec.groups[0].name; }),
];
const whole = [monitor, rules];
const types = ofTypes([...whole, ...broken]);
let failed = 0;
[...whole, ...broken].forEach((object, at) => {
  const findings = [...types[at], ...ofSchema(object)];
  const expected = at >= whole.length;
  if (expected === findings.length > 0) return;
  failed += 1;
  console.log(expected ? `not noticed: ${JSON.stringify(object).slice(0, 300)}` : `${object.kind}: ${findings.join('; ')}`);
});
console.log(`${types.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
