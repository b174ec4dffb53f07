import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FUNCTIONS = join(import.meta.dirname, '../../config/node-red/functions.mjs');

/** Ids of 16 hexadecimal digits, as Node-RED makes them, but the same at each run. */
const idOf = (number: number): string => `5e11516400000${number.toString(16).padStart(3, '0')}`;
const TAB = idOf(1);
const BROKER = idOf(2);
const BASE = 'swellsight/v1/+/+';

/** The exported declarations of functions.mjs with their comments, by name. */
function declarations(): ReadonlyMap<string, string> {
  const parts = readFileSync(FUNCTIONS, 'utf8').split(/\n\n(?=\/\*\*|export )/);
  return new Map(
    parts.flatMap((part) => {
      const name = /^export (?:function|const) (\w+)/m.exec(part)?.[1];
      return name === undefined ? [] : [[name, part.trim().replace(/^export /m, '')] as const];
    }),
  );
}

/** The code of a function node: the called function, and all others that it needs. */
function codeOf(called: string): string {
  const all = declarations();
  const needed = new Set([called]);
  for (const name of needed)
    for (const other of all.keys())
      if (new RegExp(`\\b${other}\\b`).test(all.get(name) ?? '')) needed.add(other);
  const texts = [...all].flatMap(([name, text]) => (needed.has(name) ? [text] : []));
  return [...texts, `return ${called}(msg, flow);`].join('\n\n');
}

interface Node {
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly wires: readonly (readonly string[])[];
  readonly [property: string]: unknown;
}

/** The nodes in rows; a node sends to those that its wires name. */
function nodes(): Node[] {
  const numbers = {
    record: 20,
    status: 21,
    page: 22,
    command: 23,
    answer: 24,
    html: 30,
    publish: 31,
    debug: 32,
  };
  const wire = (...targets: readonly (keyof typeof numbers)[]): string[] =>
    targets.map((target) => idOf(numbers[target]));
  const input = (number: number, name: string, topic: string, target: keyof typeof numbers): Node => ({
    ...{ id: idOf(number), type: 'mqtt in', name, topic: `${BASE}/${topic}`, qos: '1', datatype: 'utf8' },
    ...{ broker: BROKER, nl: false, rap: true, rh: 0, inputs: 0, x: 250, y: 120 + 60 * (number - 3) },
    wires: [wire(target)],
  });
  const code = (
    target: keyof typeof numbers,
    name: string,
    y: number,
    called: string,
    wires: readonly string[][],
  ): Node => ({
    ...{ id: idOf(numbers[target]), type: 'function', name, func: codeOf(called) },
    ...{
      outputs: wires.length,
      timeout: 10,
      noerr: 0,
      initialize: '',
      finalize: '',
      libs: [],
      x: 600,
      y,
      wires,
    },
  });
  const http = (number: number, method: 'get' | 'post', y: number, target: keyof typeof numbers): Node => ({
    ...{ id: idOf(number), type: 'http in', name: '', url: '/swellsight', method, upload: false },
    ...{ swaggerDoc: '', x: 210, y, wires: [wire(target)] },
  });
  const records = [
    ['observations', 'observation'],
    ['newest observation', 'latest'],
    ['late observations', 'backfill'],
    ['sea states', 'sea_state'],
    ['newest sea state', 'sea_state/latest'],
    ['late sea states', 'sea_state/backfill'],
  ] as const;
  return [
    {
      ...{
        id: idOf(40),
        type: 'comment',
        name: 'Set the broker in one of the purple nodes. Page: /swellsight',
      },
      ...{ info: 'docs/dashboards.md, "Node-RED"', x: 320, y: 60, wires: [] },
    },
    ...records.map(([name, topic], index) => input(3 + index, name, `camera/+/${topic}`, 'record')),
    // A chart node of any dashboard shows this output: `payload` in metres, `topic` for each camera.
    code('record', 'Keep records', 270, 'keepRecord', [[]]),
    input(9, 'status', 'status', 'status'),
    code('status', 'Keep status', 480, 'keepStatus', [[]]),
    http(12, 'get', 560, 'page'),
    code('page', 'Draw the page', 560, 'drawPage', [wire('html')]),
    http(13, 'post', 620, 'command'),
    {
      ...{ id: idOf(14), type: 'inject', name: 'Capture: set the camera', props: [{ p: 'payload' }] },
      ...{ repeat: '', crontab: '', once: false, onceDelay: 0.1, topic: '' },
      ...{ payload: 'local/my-device/sim', payloadType: 'str', x: 230, y: 680, wires: [wire('command')] },
    },
    code('command', 'Send a command', 650, 'sendCommand', [wire('publish'), wire('html')]),
    {
      ...{ id: idOf(numbers.html), type: 'http response', name: '', statusCode: '', headers: {} },
      ...{ x: 870, y: 590, wires: [] },
    },
    {
      ...{ id: idOf(numbers.publish), type: 'mqtt out', name: 'command', topic: '', qos: '1', retain: '' },
      ...{ respTopic: '', contentType: '', userProps: '', correl: '', expiry: '', broker: BROKER },
      ...{ x: 880, y: 650, wires: [] },
    },
    { ...input(15, 'answers', 'cmdres/+', 'answer'), y: 760 },
    code('answer', 'Keep the answer', 760, 'keepAnswer', [wire('debug')]),
    {
      ...{
        id: idOf(numbers.debug),
        type: 'debug',
        name: 'answer',
        active: true,
        tosidebar: true,
        console: false,
      },
      ...{ tostatus: true, complete: 'payload', targetType: 'msg', statusVal: 'payload.status' },
      ...{ statusType: 'msg', x: 870, y: 760, wires: [] },
    },
  ];
}

/** The flow for Node-RED, with nodes of its core only. */
export function nodeRedFiles(): Record<string, string> {
  const tab = { id: TAB, type: 'tab', label: 'SwellSight', disabled: false, info: '', env: [] };
  const broker = {
    ...{ id: BROKER, type: 'mqtt-broker', name: 'SwellSight', broker: 'localhost', port: 1883, clientid: '' },
    ...{ autoConnect: true, usetls: false, protocolVersion: 4, keepalive: 60, cleansession: true },
    ...{ autoUnsubscribe: true, birthTopic: '', birthQos: '0', birthRetain: 'false', birthPayload: '' },
    ...{ birthMsg: {}, closeTopic: '', closeQos: '0', closeRetain: 'false', closePayload: '', closeMsg: {} },
    ...{ willTopic: '', willQos: '0', willRetain: 'false', willPayload: '', willMsg: {}, userProps: '' },
    sessionExpiry: '',
  };
  const flow = [tab, broker, ...nodes().map(({ id, ...node }) => ({ id, z: TAB, ...node }))];
  return { 'config/node-red/flow.json': JSON.stringify(flow) };
}
