import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, resolve } from 'node:path';
import type * as Json5 from 'json5';
import type * as Yaml from 'yaml';
import { errorCode } from '../base/disk-errors.ts';
import { NotAFile, readRegularFile } from '../base/regular-file.ts';
import { decodeSecret, NotASecret } from '../base/secret-text.ts';
import { findNearest, formatValue, type ConfigFault } from './faults.ts';
import { listSettings, type Group, type Setting } from './setting.ts';

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_SECRET_BYTES = 64 * 1024;

/**
 * Reads one configuration file as JSON5 or YAML. The extension decides; without a known extension, the start of the text.
 * A file that cannot be read or parsed is one fault with the key `(file)`.
 */
export function readSettingsFile(path: string, faults: ConfigFault[]): unknown {
  const fault = (given: string, wanted: string): unknown => {
    faults.push({ key: '(file)', given, wanted, origin: path });
    return undefined;
  };
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES)
      return fault(`${String(size)} bytes`, `at most ${String(MAX_FILE_BYTES)} bytes`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    return fault(errorCode(error) ?? firstLine(error), 'a readable UTF-8 file');
  }
  if (text.trim() === '') return {};
  const isInYaml = isYaml(path, text);
  try {
    if (isInYaml) return parseYaml(text, fault);
    return parseJson5(text);
  } catch (error) {
    const line = firstLine(error);
    return fault(isInYaml ? withoutSource(line) : line, 'JSON5 or YAML');
  }
}

/** Throws a SyntaxError. The parser is loaded on demand: a file needs only one. */
export function parseJson5(text: string): unknown {
  const { parse } = createRequire(import.meta.url)('json5') as typeof Json5;
  return parse<unknown>(text);
}

function isYaml(path: string, text: string): boolean {
  const extension = extname(path).toLowerCase();
  if (extension === '.yaml' || extension === '.yml') return true;
  return !extension.startsWith('.json') && !/^\s*(\/\/|\/\*|\{)/.test(text);
}

/** Errors and warnings of the parser, such as an unknown tag, are faults with their line. */
function parseYaml(text: string, fault: (given: string, wanted: string) => unknown): unknown {
  const { parseDocument } = createRequire(import.meta.url)('yaml') as typeof Yaml;
  const document = parseDocument(text, { uniqueKeys: true, merge: true, logLevel: 'error' });
  for (const { code, message } of [...document.errors, ...document.warnings]) {
    const wanted =
      code === 'TAG_RESOLVE_FAILED'
        ? 'no tags of other programs: give a secret by …_file or an environment variable; quote a text that begins with !'
        : 'JSON5 or YAML';
    fault(withoutSource(message), wanted);
  }
  return document.errors.length + document.warnings.length > 0
    ? undefined
    : document.toJS({ maxAliasCount: 100 });
}

/** Tags of other programs. Any other text behind an exclamation mark may be a password without quotes. */
const KNOWN_TAG = /^!(secret|include\w*|env(_var)?|vault|lambda|input|reference|Ref|Sub)$/;

/**
 * The first line of a parser's message without the text of the file, which may be a secret: `password: *letmein` gives
 * "Unresolved alias (…): letmein at line 3, column 11". The lines behind the first one quote the file.
 */
function withoutSource(message: string): string {
  const line = (message.split('\n', 1)[0] ?? '').replace(/:$/, '');
  const [, text = line, place = ''] = /^(.*?)( at line \d+, column \d+)?$/.exec(line) ?? [];
  const colon = text.indexOf(': ');
  return colon < 0 || KNOWN_TAG.test(text.slice(colon + 2)) ? line : `${text.slice(0, colon)}${place}`;
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';

/** `SWELLSIGHT_` variables that are not settings: path of the file, options of the command line, test frames, updater. */
const OTHER_VARIABLES = [
  'SWELLSIGHT_CONFIG',
  'SWELLSIGHT_URL',
  'SWELLSIGHT_TOKEN',
  'SWELLSIGHT_TOKEN_FILE',
  'SWELLSIGHT_SURFCAM',
  'SWELLSIGHT_UPDATER_STATE',
];

/**
 * Variables that container platforms create for a service whose name begins with `swellsight`.
 * Source: Kubernetes, "Accessing the Service", environment variables; Docker, "Legacy container links".
 */
const FOREIGN_NAME =
  /^SWELLSIGHT_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END))?|ENV_\w+)$/;
/** A service `swellsight-http` creates `SWELLSIGHT_HTTP_PORT`, which is also a setting: only the value tells. */
const FOREIGN_PORT = /^(tcp|udp|sctp):\/\/[^\s/]+:\d+$/;

/** Names of the `SWELLSIGHT_` variables that a container platform created. They are not settings and are ignored. */
export const listForeignVariables = (env: NodeJS.ProcessEnv): readonly string[] =>
  Object.entries(env)
    .filter(
      ([name, text = '']) =>
        name.startsWith('SWELLSIGHT_') &&
        (FOREIGN_NAME.test(name) || (name.endsWith('_PORT') && FOREIGN_PORT.test(text))),
    )
    .map(([name]) => name)
    .sort();

/** Values of the environment variables, by dotted key. An empty variable counts as not set. */
export function readEnvironment(
  env: NodeJS.ProcessEnv,
  definition: Group,
  faults: ConfigFault[],
): ReadonlyMap<string, unknown> {
  const byVariable = new Map(listSettings(definition).map((entry) => [entry.setting.env, entry]));
  const foreign = listForeignVariables(env);
  const values = new Map<string, unknown>();
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SWELLSIGHT_') || text === undefined || text === '') continue;
    if (foreign.includes(name)) continue;
    const found = byVariable.get(name);
    if (found) {
      const { key, setting } = found;
      const value = parseVariable(setting, text);
      if (value !== undefined) values.set(key, value);
      else faults.push({ key, given: formatValue(key, text), wanted: 'a list as JSON', origin: name });
    } else if (!OTHER_VARIABLES.includes(name)) {
      const suggestion = findNearest(name, [...byVariable.keys(), ...OTHER_VARIABLES]);
      const wanted = suggestion === null ? 'no such variable' : `perhaps ${suggestion}`;
      faults.push({ key: name, given: 'an unknown variable', wanted, origin: 'environment' });
    }
  }
  return values;
}

/** The text converted to the type of the setting's default, where that is possible; `undefined` for invalid JSON. */
function parseVariable(setting: Setting, text: string): unknown {
  const fallback = setting.default;
  const trimmed = text.trim();
  if (Array.isArray(fallback) || fallback === 'auto') {
    if (!/^[[{"]/.test(trimmed)) return (fallback === 'auto' ? parseNumber(trimmed) : null) ?? text;
    try {
      return JSON.parse(trimmed) as unknown;
    } catch {
      return undefined;
    }
  }
  if (typeof fallback === 'boolean') {
    if (/^(true|1|yes|on)$/i.test(trimmed)) return true;
    if (/^(false|0|no|off)$/i.test(trimmed)) return false;
    return text;
  }
  return (typeof fallback === 'number' ? parseNumber(trimmed) : null) ?? text;
}

const parseNumber = (text: string): number | null =>
  /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;

/** `LoadCredential=secrets:DIRECTORY` in the unit gives each file this prefix. */
const CREDENTIAL_PREFIX = 'secrets_';

export interface SecretPlaces {
  readonly cwd: string;
  /** systemd's `$CREDENTIALS_DIRECTORY`: a relative path is first looked up there, also with the prefix `secrets_`. */
  readonly credentialsDir: string | null;
}

export function secretPath(file: string, { cwd, credentialsDir }: SecretPlaces): string {
  const credentials =
    credentialsDir === null
      ? []
      : [file, `${CREDENTIAL_PREFIX}${file}`].map((name) => join(credentialsDir, name));
  return credentials.find(isThere) ?? resolve(cwd, file);
}

/** Not with existsSync: access(2) ignores the capability with which `sudo swellsight` reads the directory of root. */
function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns a secret that is given directly or by a file; both together are a fault. `key` is the key of the secret itself;
 * the key of its file is `{key}_file`.
 */
export function readSecret(
  input: {
    readonly key: string;
    readonly value: string | null;
    readonly file: string | null;
    /** Cameras may have a user without a password. */
    readonly mayBeEmpty?: boolean;
  },
  places: SecretPlaces,
  faults: ConfigFault[],
): string | null {
  const { key, value, file, mayBeEmpty = false } = input;
  if (file === null) return value;
  const fault = (given: string, wanted: string): null => {
    faults.push({ key: `${key}_file`, given, wanted, origin: null });
    return null;
  };
  if (value !== null) return fault(`both ${key} and ${key}_file`, 'one of the two');
  return readSecretFile(file, places, fault, (bytes, path) => {
    const secret = decodeSecret(bytes);
    if (secret !== '' || mayBeEmpty) return secret;
    return fault(`${path}, which is empty`, 'a file that holds the secret');
  });
}

/** Reads a file of secrets and parses it. `parse` may throw `NotASecret`. */
export function readSecretFile<T>(
  file: string,
  places: SecretPlaces,
  fault: (given: string, wanted: string) => null,
  parse: (bytes: Uint8Array, path: string) => T | null,
): T | null {
  const path = secretPath(file, places);
  try {
    return parse(readRegularFile(path, MAX_SECRET_BYTES), path);
  } catch (error) {
    if (error instanceof NotASecret || error instanceof NotAFile) return fault(path, error.message);
    return fault(`${path} (${errorCode(error) ?? 'unreadable'})`, 'a readable file');
  }
}
