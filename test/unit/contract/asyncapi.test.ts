import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { Parser, type AsyncAPIDocumentInterface } from '@asyncapi/parser';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHANNELS } from '../../../src/contract/channels.ts';
import { COMMAND_ARGS } from '../../../src/contract/command.ts';
import { asyncApiDocument } from '../../../src/contract/emit-asyncapi.ts';
import { identifiedSchemas } from '../../../src/contract/emit-schemas.ts';
import { EVENT_CODE_NAMES, EVENT_TYPES } from '../../../src/contract/events.ts';
import { channelOf, contractFault } from '../../fixtures/contract.ts';
import { observation } from '../../fixtures/agent-api.ts';
import { readDocument } from '../../fixtures/documents.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const generated = join(root, 'docs', 'generated');
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

describe('the AsyncAPI document', () => {
  const text = readFileSync(join(generated, 'asyncapi.json'), 'utf8');
  let parsed: AsyncAPIDocumentInterface;
  let complaints: string[];

  beforeAll(async () => {
    const { document, diagnostics } = await new Parser().parse(text);
    // Severities 0 and 1 are errors and warnings. Ignore the note that 3.1 is available.
    complaints = diagnostics
      .filter(({ severity, code }) => severity.valueOf() <= 1 || code !== 'asyncapi-latest-version')
      .map(({ code, message, path }) => `${String(code)} at ${path.join('.')}: ${message}`);
    if (!document) throw new Error(complaints.join('\n'));
    parsed = document;
  });

  it('passes the official parser without a complaint', () => {
    expect(complaints).toEqual([]);
    expect(parsed.version()).toBe('3.0.0');
  });

  it('has every channel of the contract, with direction, QoS and retain flag', () => {
    expect(
      parsed
        .channels()
        .all()
        .map((channel) => channel.id())
        .sort(),
    ).toEqual(CHANNELS.map(({ id }) => id).sort());
    const asked = parsed
      .operations()
      .all()
      .map((operation) => {
        const mqtt = operation.bindings().get('mqtt')?.value<{ qos: number; retain: boolean }>();
        return [operation.id(), operation.action(), mqtt?.qos, mqtt?.retain];
      });
    const answers = new Set(CHANNELS.flatMap(({ reply }) => reply ?? []));
    const wanted = CHANNELS.filter(({ id }) => !answers.has(id)).map((one) => [
      one.id,
      one.direction,
      one.qos,
      one.retain,
    ]);
    expect(asked.sort()).toEqual(wanted.sort());
  });

  it('has the response channel of each command', () => {
    for (const name of Object.keys(COMMAND_ARGS)) {
      const operation = parsed
        .operations()
        .all()
        .find((one) => one.channels().all()[0]?.address()?.endsWith(`/cmd/${name}`));
      expect(operation?.action(), name).toBe('receive');
      expect(operation?.reply()?.channel()?.address(), name).toBe(
        `swellsight/v1/{site}/{device}/cmdres/${name}`,
      );
      expect(operation?.reply()?.messages().all().length, name).toBe(2);
    }
  });

  it('has no topic and no command that docs/mqtt.md leaves out', () => {
    const page = readDocument('docs/mqtt.md');
    const topics = CHANNELS.map(({ address }) => address).filter((address) => !/^(\/|cmd)/.test(address));
    for (const topic of topics) expect(page).toContain(`| \`…/${topic.replace('{camera}', '{cam}')}\` `);
    for (const name of Object.keys(COMMAND_ARGS)) expect(page).toMatch(new RegExp(`^\\| .*\`${name}\``, 'm'));
  });

  it('promises no content type of MQTT 5, which the agent does not send', () => {
    const bindings = parsed
      .messages()
      .all()
      .map((message) => message.bindings().get('mqtt')?.value<object>());
    expect(bindings.filter((binding) => binding && 'contentType' in binding)).toEqual([]);
    expect(bindings.length).toBeGreaterThan(50);
  });

  it('is refused by the parser when a reference is broken', async () => {
    const broken = JSON.parse(text) as { operations: Record<string, { channel: object }> };
    Object.assign(broken.operations['status'] ?? {}, { channel: { $ref: '#/channels/none' } });
    const { document } = await new Parser().parse(JSON.stringify(broken));
    expect(document).toBeUndefined();
  });

  it('lists exactly the parameters of each address', () => {
    const document = asyncApiDocument({ base: 'a/b', keepAliveS: 1, sessionExpiryS: 2 });
    for (const one of Object.values(
      document['channels'] as Record<string, { address: string; parameters: object }>,
    ))
      expect([...one.address.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort()).toEqual(
        Object.keys(one.parameters).sort(),
      );
  });
});

describe('the schemas of the document', () => {
  it('accept the values of the code and additions to them, but no other command', () => {
    const document = asyncApiDocument({ base: 'a/b', keepAliveS: 1, sessionExpiryS: 2 });
    const ajv = new Ajv({ strict: false, formats: fullFormats });
    // Add only the components; the references are relative to the root of the document.
    ajv.addSchema({ components: document['components'] }, 'asyncapi');
    const fits = (name: string, value: unknown): boolean =>
      ajv.validate({ $ref: `asyncapi#/components/schemas/${name}` }, value);
    expect(fits('Observation', observation)).toBe(true);
    const later = {
      ...observation,
      extra: 1,
      wave: { ...observation.wave, extra: null },
      reasons: ['reason_of_later'],
      warnings: ['warning_of_later'],
    };
    expect(fits('Observation', later)).toBe(true);
    expect(fits('Observation', { ...observation, status: 'other' })).toBe(false);
    expect(fits('Observation', { ...observation, seq: null })).toBe(false);
    // A schema inside another one.
    const answer = { id: '1', status: 'succeeded', duration_ms: 1 };
    expect(fits('CaptureResult', { ...answer, result: observation })).toBe(true);
    expect(fits('CaptureResult', { ...answer, result: { ...observation, wave: null } })).toBe(false);
    expect(fits('CaptureCommand', { id: '1', args: { camera: 'north' } })).toBe(true);
    expect(fits('CaptureCommand', { id: '1' })).toBe(false);
    expect(fits('CaptureCommand', { id: '1', args: { camera: 'north', extra: 1 } })).toBe(false);
    expect(fits('PingCommand', { id: '1' })).toBe(true);
  });

  it('have one file each in docs/generated', () => {
    const ids = readdirSync(generated)
      .filter((name) => name.endsWith('.schema.json'))
      .map((name) => (JSON.parse(readFileSync(join(generated, name), 'utf8')) as { $id?: string }).$id);
    for (const id of identifiedSchemas().keys()) expect(ids).toContain(id);
  });
});

describe('channelOf and contractFault', () => {
  const at = 'swellsight/v1/test/dev';

  it.each([
    ['status', 'status'],
    ['camera/status/state', 'cameraState'],
    ['camera/north/latest', 'cameraLatest'],
    ['event/clock_step', 'event'],
    ['cmdres/label.remove', 'answerLabelRemove'],
    ['cmdres/my/own/status', 'answer'],
    ['cmd/ping', 'commandPing'],
  ])('assign %s to channel %s', (topic, id) => {
    expect(channelOf(`${at}/${topic}`)?.id).toBe(id);
  });

  it.each(['nonsense', 'camera/north', 'camera/north/east/state', 'cmd/none', 'event'])(
    'assign %s to no channel',
    (topic) => {
      expect(channelOf(`${at}/${topic}`)).toBeNull();
      expect(contractFault(`${at}/${topic}`, Buffer.from('{}'))).toContain('no channel');
    },
  );

  it('accept a valid record only', () => {
    expect(contractFault(`${at}/camera/north/latest`, bytes(observation))).toBeNull();
    expect(contractFault(`${at}/camera/north/latest`, bytes({ ...observation, seq: 0 }))).toContain('seq');
    expect(contractFault(`${at}/camera/north/latest`, bytes({ ...observation, extra: 1 }))).toContain(
      'additional',
    );
    expect(
      contractFault(`${at}/camera/north/latest`, bytes({ ...observation, warnings: ['unknown'] })),
    ).toContain('warnings');
    expect(contractFault(`${at}/camera/north/latest`, Buffer.from('{'))).toContain('no JSON');
  });

  it('check the result of a command by the schema of that command', () => {
    const answer = { id: '1', status: 'succeeded', duration_ms: 1 };
    const pong = { pong: true, at: '2026-05-01T12:00:00.000Z', uptime_s: 1 };
    expect(contractFault(`${at}/cmdres/ping`, bytes({ ...answer, result: pong }))).toBeNull();
    expect(contractFault(`${at}/cmdres/ping`, bytes({ ...answer, result: { pong: 1 } }))).toContain('pong');
    expect(contractFault(`${at}/cmdres/elsewhere`, bytes({ ...answer, result: { pong: 1 } }))).toBeNull();
  });
});

describe('EVENT_TYPES', () => {
  /** Matches the `type` of an event draft: a quoted name next to a severity. */
  const DRAFT =
    /type: '([a-z0-9_]+)',\s*(?:\/\/[^\n]*\s*)?severity:|severity: [^,]+,\s*type: '([a-z0-9_]+)'/g;

  const source = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
    .join('\n');

  it('has exactly the types that the code raises', () => {
    const raised = new Set([
      ...[...source.matchAll(DRAFT)].map(([, first, second]) => first ?? second),
      ...[...(/FailedEnd = ([^;]+);/.exec(source)?.[1] ?? '').matchAll(/'(\w+)'/g)].map(
        ([, end = '']) => `model_install_${end}`,
      ),
    ]);
    expect(Object.keys(EVENT_TYPES).sort()).toEqual([...raised].sort());
  });

  it('and the other tables explain every code of the events in the code', () => {
    const drafts = [...source.matchAll(/type: '[a-z0-9_]+',\s*severity: [^,]+,\s*code: ([^,]+),/g)];
    const codes = drafts.flatMap(([, code = '']) => [...code.matchAll(/'(\w+)'/g)].map(([, name]) => name));
    expect(codes.length).toBeGreaterThan(20);
    expect(codes.filter((code) => !EVENT_CODE_NAMES.includes(code ?? ''))).toEqual([]);
  });
});
