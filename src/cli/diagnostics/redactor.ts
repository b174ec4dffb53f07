import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createScrub, MASK, redactAddresses, secretsOfAddress, type Scrub } from '../../base/redact.ts';
import { readRegularFile } from '../../base/regular-file.ts';
import { decodeSecret } from '../../base/secret-text.ts';
import type { Settings } from '../../config/schema.ts';
import { createRedact } from '../../config/secret-keys.ts';
import { secretPath, type SecretPlaces } from '../../config/sources.ts';
import { configFile } from '../config.ts';
import type { AgentOptions } from '../agent/client.ts';
import type { ConfigOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';

/** The rest of a line after the name of a secret or of a header, in YAML, JSON5 or a list of variables. */
const NAMED_SECRET =
  /(?:password|passwd|pwd|token|secret|authorization|cookie|api[_-]?key)(_file)?["']?[^\S\n]*[:=][^\S\n]*([^\n]+)/gi;
const QUOTED = /^("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')/;
const NO_SECRET = /^(null|true|false|undefined)$/;
const URL_IN_TEXT = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"',}\]]+/gi;
/** Shorter than in a log: an archive may be published. */
const MIN_ADDRESS_PART_CHARS = 4;
const MAX_SECRET_BYTES = 64 * 1024;
const SECRET_VARIABLE = /^SWELLSIGHT_\w*(PASSWORD|TOKEN)$/;

export interface RedactorInput {
  readonly options: ConfigOptions & AgentOptions;
  /** Null when they are invalid: then the secrets come from the text of the file alone. */
  readonly settings: Settings | null;
  readonly terminal: Pick<Terminal, 'env' | 'cwd'>;
}

/**
 * Replaces credentials in addresses, and every secret of the configuration. Also reads the secrets of a configuration that
 * is invalid, because that is a reason to build an archive.
 */
export function createArchiveRedactor({ options, settings, terminal }: RedactorInput): Scrub {
  const { env, cwd } = terminal;
  const places: SecretPlaces = { cwd, credentialsDir: env['CREDENTIALS_DIRECTORY'] ?? null };
  const file = configFile(options, env);
  const variables = Object.entries(env).filter(([name]) => name.startsWith('SWELLSIGHT_'));
  const text = [
    file === null ? '' : readOrEmpty(resolve(cwd, file)),
    ...variables.map(([name, value = '']) => `${name}=${value}`),
  ].join('\n');
  const scrub = createScrub([
    ...variables.filter(([name]) => SECRET_VARIABLE.test(name)).map(([, value = '']) => value),
    ...secretsOfText(text, places),
    options.token ?? null,
    options.tokenFile === undefined ? null : readSecretOrNull(resolve(cwd, options.tokenFile)),
  ]);
  const redact = settings === null ? redactAddresses : createRedact(settings);
  return (line) =>
    redact(scrub(line)).replace(/(\bauthorization["']?\s*[:=]\s*["']?)[^"'\n]+/gi, `$1${MASK}`);
}

function secretsOfText(text: string, places: SecretPlaces): (string | null)[] {
  const named = [...text.matchAll(NAMED_SECRET)].flatMap(([, isFile, rest = '']) =>
    possibleValues(rest).map((value) =>
      isFile === undefined ? value : readSecretOrNull(secretPath(value, places)),
    ),
  );
  return [
    ...named,
    ...[...text.matchAll(URL_IN_TEXT)].flatMap(([url]) => secretsOfAddress(url, MIN_ADDRESS_PART_CHARS)),
  ];
}

/** What a parser may read from the rest of a line: a quoted text, one word, or the whole rest. */
function possibleValues(rest: string): string[] {
  const quoted = QUOTED.exec(rest)?.[0];
  if (quoted === undefined)
    return [rest.trim(), rest.split(/\s+#|[,}\]]/, 1)[0]?.trim() ?? ''].filter(
      (word) => !NO_SECRET.test(word),
    );
  const inner = quoted.slice(1, -1);
  try {
    return [inner, JSON.parse(`"${inner}"`) as string];
  } catch {
    return [inner];
  }
}

function readSecretOrNull(path: string): string | null {
  try {
    return decodeSecret(readRegularFile(path, MAX_SECRET_BYTES));
  } catch {
    return null;
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
