// The program that systemd runs as root: `node main.js run`. See docs/agent-update.md.
import { mkdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { asAgentError } from '../base/errors.ts';
import { toPrintable, toPrintableJson } from '../base/printable.ts';
import { DEFAULT_PATHS } from './paths.ts';
import { thisMachine } from './platform.ts';
import { operatorRollback } from './request-directory.ts';
import { Systemd } from './service-control.ts';
import { Updater } from './updater.ts';

const USAGE = `usage: node main.js run|rollback

run        continues an update, then handles the request of the agent
rollback   returns to the last good or the factory version; ends a trial
`;
/** sysexits.h: EX_USAGE, EX_SOFTWARE. */
const EXIT_USAGE = 64;
const EXIT_FAILED = 70;

const log = (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
  const details = Object.keys(fields).length > 0 ? ` ${toPrintableJson(JSON.stringify(fields))}` : '';
  process.stdout.write(`${toPrintable(message)}${details}\n`);
};

function readVersion(): string {
  const url = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(url, 'utf8')) as { readonly version: string }).version;
}

async function main(): Promise<number> {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [command = 'run'] = positionals;
  if (positionals.length > 1 || !['run', 'rollback'].includes(command)) {
    process.stderr.write(USAGE);
    return EXIT_USAGE;
  }
  // Versions are readable by the service user, whatever umask the operator has.
  process.umask(0o022);
  const aborted = new AbortController();
  process.once('SIGTERM', () => aborted.abort());
  for (const dir of [DEFAULT_PATHS.run, DEFAULT_PATHS.state])
    mkdirSync(dir, { recursive: true, mode: 0o755 });
  const updater = new Updater(
    { paths: DEFAULT_PATHS, updaterVersion: readVersion() },
    { control: new Systemd(), machine: thisMachine, log },
  );
  try {
    await updater.run(aborted.signal, command === 'rollback' ? operatorRollback() : null);
    return 0;
  } catch (error) {
    const { code, message, hint } = asAgentError(error);
    process.stderr.write(`${toPrintable(`${code}: ${message} (${hint})`)}\n`);
    return EXIT_FAILED;
  }
}

process.exitCode = await main();
