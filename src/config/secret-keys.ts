import { ERROR_CODES } from '../base/errors.ts';
import {
  createAddressRedaction,
  createScrub,
  MASK,
  redactAddress,
  secretsOfAddress,
  secretsOfArguments,
  secretsOfHeader,
  type Scrub,
} from '../base/redact.ts';
import { settingsDefinition } from './definition.ts';
import { CameraSettings, type Settings } from './schema.ts';
import type { SecretKind } from './secret-kind.ts';
import { listSettings } from './setting.ts';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A key that may hold a secret. In its path, `*` stands for each item of a list and each name of a map. */
interface SecretKey {
  readonly path: readonly string[];
  readonly kind: SecretKind;
}

/** The parts of a JSON schema that lead to other schemas. */
interface SchemaNode {
  readonly secret?: SecretKind;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: SchemaNode;
}

/** Every key of the configuration that may hold a secret, from the schemas: a new key is covered where it is defined. */
const SECRET_KEYS: readonly SecretKey[] = [
  ...listSettings(settingsDefinition()).flatMap(({ key, setting: { secret } }) =>
    secret === null ? [] : [{ path: key.split('.'), kind: secret }],
  ),
  ...findSecrets(CameraSettings as SchemaNode, ['cameras', '*']),
];

function findSecrets(node: SchemaNode, path: readonly string[]): readonly SecretKey[] {
  if (node.secret !== undefined) return [{ path, kind: node.secret }];
  const { properties = {}, patternProperties = {}, additionalProperties, items } = node;
  const any = [...Object.values(patternProperties), additionalProperties, items];
  return [
    ...Object.entries(properties).flatMap(([name, inner]) => findSecrets(inner, [...path, name])),
    ...any.flatMap((inner) => (typeof inner === 'object' ? findSecrets(inner, [...path, '*']) : [])),
  ];
}

/** Replaces one secret text. */
type Change = (text: string, kind: SecretKind) => string;

/** The value with each secret in it changed. It has the form of the settings, or of a part of them under a key. */
export function mapSecrets(value: unknown, change: Change, key = ''): unknown {
  return mapUnder(value, change, keysUnder(key));
}

function mapUnder(value: unknown, change: Change, keys: readonly SecretKey[]): unknown {
  const [own] = keys.filter(({ path }) => path.length === 0);
  if (own) return mapLeaf(value, change, own.kind);
  if (keys.length === 0) return value;
  const items = descend(keys, '*');
  // A list or a text in place of a group, such as `mqtt: 'mqtt://…'`, has secrets as well.
  if (Array.isArray(value))
    return value.map((item: unknown) => mapUnder(item, change, items.length > 0 ? items : keys));
  if (isObject(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [name, mapUnder(inner, change, descend(keys, name))]),
    );
  return typeof value === 'string' ? change(value, 'address') : value;
}

function mapLeaf(value: unknown, change: Change, kind: SecretKind): unknown {
  if (value === null || value === undefined) return value;
  if (Array.isArray(value)) {
    const [program, ...args] = value as readonly unknown[];
    if (kind === 'command') return [program, ...args.map((arg) => mapLeaf(arg, change, kind))];
    return value.map((item: unknown) => mapLeaf(item, change, kind));
  }
  if (isObject(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [name, mapLeaf(inner, change, kind)]),
    );
  return change(typeof value === 'string' ? value : JSON.stringify(value), kind);
}

const descend = (keys: readonly SecretKey[], name: string): SecretKey[] =>
  keys
    .filter(({ path: [head] }) => head === '*' || head === name)
    .map(({ path, kind }) => ({ path: path.slice(1), kind }));

/** The secret keys at and under a key such as `cameras[0].url`, with paths from there. */
function keysUnder(key: string): readonly SecretKey[] {
  const names = key
    .replace(/\[\d+\]/g, '.*')
    .split('.')
    .filter((name) => name !== '');
  let keys = SECRET_KEYS;
  for (const name of names) {
    if (keys.some(({ path }) => path.length === 0)) break;
    keys = descend(keys, name);
  }
  return keys;
}

/** How the key is shown, such as `mqtt.password`; null for a key that is no secret. */
export const secretKindOf = (key: string): SecretKind | null =>
  keysUnder(key).find(({ path }) => path.length === 0)?.kind ?? null;

/** Whether a text stands for a secret that was not shown. */
export const isRedacted = (text: unknown, kind: SecretKind): boolean =>
  typeof text === 'string' && text.includes(MASK) && redactSecret(text, kind) === text;

/** A secret as everybody may see it. */
export const redactSecret: Change = (text, kind) => (kind === 'address' ? redactAddress(text) : MASK);

/**
 * The keys of a patch that give a secret, as `Change.keys` names them: `mqtt.password`, `cameras.north.url`. An address
 * without a hidden part is none. Nulls are none.
 */
export function listGivenSecrets(patch: Readonly<Record<string, unknown>>): readonly string[] {
  const { cameras, ...rest } = patch;
  const list = Array.isArray(cameras) ? (cameras as readonly unknown[]).filter(isObject) : [];
  return [
    ...givenIn(rest, ''),
    ...list.flatMap(({ id, ...camera }) =>
      Object.entries(camera)
        .filter(([name, value]) => hasSecret(value, `cameras[0].${name}`))
        .map(([name]) => `cameras.${String(id)}.${name}`),
    ),
  ];
}

const givenIn = (group: Readonly<Record<string, unknown>>, prefix: string): readonly string[] =>
  Object.entries(group).flatMap(([name, value]) => {
    const key = `${prefix}${name}`;
    if (isObject(value)) return givenIn(value, `${key}.`);
    return hasSecret(value, key) ? [key] : [];
  });

function hasSecret(value: unknown, key: string): boolean {
  let isFound = false;
  mapSecrets(
    value,
    (text, kind) => {
      isFound ||= redactSecret(text, kind) !== text;
      return text;
    },
    key,
  );
  return isFound;
}

/**
 * Removes the secrets of the settings from a text, and reduces addresses to scheme, host and port. `names`: texts that
 * everybody may read, and whose parts are therefore no secrets.
 */
export function createRedact(settings: Settings, names: readonly string[] = publicTexts(settings)): Scrub {
  const found: string[] = [];
  const addresses: string[] = [];
  mapSecrets(settings, (text, kind) => {
    if (kind === 'address') {
      addresses.push(text);
      found.push(...secretsOfAddress(text));
    }
    if (kind === 'text') found.push(text);
    if (kind === 'header') found.push(...secretsOfHeader(text));
    return text;
  });
  found.push(...settings.cameras.flatMap(({ command }) => secretsOfArguments((command ?? []).slice(1))));
  const scrub = createScrub(found.filter((secret) => !names.some((name) => name.includes(secret))));
  const reduce = createAddressRedaction(addresses);
  return (text) => scrub(reduce(text));
}

/** Texts that stand in topics and messages. A part of them is no secret, also if it is used as a password. */
export const publicTexts = ({ site, device, mqtt, stateDir, cameras }: Settings): readonly string[] => [
  ...[site, device, mqtt.base, mqtt.clientId, stateDir, 'swellsight', ...Object.keys(ERROR_CODES)],
  ...cameras.flatMap(({ id, kind }) => [id, kind]),
];
