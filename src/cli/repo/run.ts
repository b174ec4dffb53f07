import { resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { exportTarget } from '../../model/repository/export.ts';
import {
  DEFAULT_EXPIRES_DAYS,
  DEFAULT_KEY_COUNTS,
  DEFAULT_THRESHOLDS,
  initRepository,
} from '../../model/repository/init.ts';
import { publish } from '../../model/repository/publish.ts';
import {
  changeRoot,
  listKeys,
  type RootChange,
  type RootReport,
} from '../../model/repository/change-root.ts';
import { serveRepository } from '../../model/repository/serve.ts';
import { verifyRepository } from '../../model/repository/verify.ts';
import { table } from '../phrases.ts';
import { asRole, isCount, isDays, perRole, repositoryOptions, type RepoOptions } from './options.ts';
import { EXIT, jsonText, paint, type Terminal } from '../terminal.ts';

export interface InitOptions extends RepoOptions {
  readonly count: readonly string[];
  readonly threshold: readonly string[];
  readonly expires: readonly string[];
}

/** `repo init DIR`. */
export async function repoInit(dir: string, options: InitOptions, terminal: Terminal): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const { root } = await initRepository({
    ...common,
    keyCounts: { ...DEFAULT_KEY_COUNTS, ...Object.fromEntries(perRole(options.count, isCount)) },
    thresholds: { ...DEFAULT_THRESHOLDS, ...Object.fromEntries(perRole(options.threshold, isCount)) },
    expiresDays: { ...DEFAULT_EXPIRES_DAYS, ...Object.fromEntries(perRole(options.expires, isDays)) },
  });
  const made = {
    dir: common.dir,
    keys_dir: common.keysDir,
    root_keys_dir: common.rootKeysDir,
    trust_root: `${common.dir}/metadata/1.root.json`,
    expires: root.signed.expires,
    encrypted: common.passphrase !== null,
  };
  if (options.json === true) terminal.out(jsonText(made));
  else {
    terminal.out(
      table([
        ['repository', made.dir],
        ['keys', made.keys_dir],
        ['root keys', `${made.root_keys_dir} (move them off this machine, in two places)`],
        ['pin on devices', `${made.trust_root} (model.trustRoot)`],
      ]),
    );
    if (!made.encrypted) terminal.err('the keys have no passphrase: --passphrase-file gives them one');
  }
  return EXIT.ok;
}

export interface RepoPublishOptions extends RepoOptions {
  readonly withdraw: readonly string[];
  readonly timestampOnly?: boolean;
}

/** `repo publish DIR BUNDLE...`. */
export async function repoPublish(
  dir: string,
  bundles: readonly string[],
  options: RepoPublishOptions,
  terminal: Terminal,
): Promise<number> {
  const timestampOnly = options.timestampOnly === true;
  if (timestampOnly && bundles.length + options.withdraw.length > 0)
    throw new AgentError('usage', '--timestamp-only publishes and withdraws nothing');
  const common = await repositoryOptions(dir, options, terminal);
  const done = await publish(
    {
      ...common,
      bundles: bundles.map((bundle) => resolve(terminal.cwd, bundle)),
      withdraw: options.withdraw,
      timestampOnly,
    },
    terminal.signal,
  );
  if (options.json === true) {
    const models = done.models.map(({ sizeBytes, ...model }) => ({ ...model, size_bytes: sizeBytes }));
    terminal.out(jsonText({ ...done, models }));
    return EXIT.ok;
  }
  for (const { name, version, outcome, digest, sizeBytes } of done.models)
    terminal.out(`${outcome}  ${name} ${version}  ${sizeBytes} bytes  ${digest}`);
  terminal.out(`signed; a new timestamp is due before ${done.expires.timestamp}`);
  return EXIT.ok;
}

export interface KeysOptions extends RepoOptions {
  readonly add: readonly string[];
  readonly revoke: readonly string[];
  readonly threshold: readonly string[];
}

/** `repo keys DIR`: the list, after the changes that were asked for. */
export async function repoKeys(dir: string, options: KeysOptions, terminal: Terminal): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const changes: RootChange[] = [
    ...options.add.map((role) => ({ kind: 'add' as const, role: asRole(role) })),
    ...options.revoke.map((keyId) => ({ kind: 'revoke' as const, keyId })),
    ...perRole(options.threshold, isCount).map(([role, threshold]) => ({
      kind: 'threshold' as const,
      role,
      threshold,
    })),
  ];
  const change = changes.length === 0 ? null : await changeRoot(common, changes);
  const { version, expires, keys, exposed } = await listKeys(common);
  if (options.json === true) {
    const listed = keys.map(({ role, keyId, threshold, file }) => ({ role, key_id: keyId, threshold, file }));
    terminal.out(
      jsonText({ root: { version, expires }, keys: listed, exposed, change: change && changeView(change) }),
    );
    return EXIT.ok;
  }
  if (change) terminal.out(changeText(change));
  const row = ({ role, keyId, threshold, file }: (typeof keys)[number]): string[] => {
    const of = keys.filter((key) => key.role === role).length;
    return [role, `${threshold} of ${of}`, keyId.slice(0, 16), file ?? 'not on this machine'];
  };
  terminal.out(table(keys.map(row)));
  for (const file of exposed)
    terminal.err(paint(terminal.colour.err).warn(`others may read ${file}: chmod 600`));
  return EXIT.ok;
}

export type RotateOptions = RepoOptions;

/** `repo rotate DIR [ROLE...]`. */
export async function repoRotate(
  dir: string,
  roles: readonly string[],
  options: RotateOptions,
  terminal: Terminal,
): Promise<number> {
  const changes = [...new Set(roles)].map((role) => ({ kind: 'rotate' as const, role: asRole(role) }));
  const change = await changeRoot(await repositoryOptions(dir, options, terminal), changes);
  terminal.out(options.json === true ? jsonText(changeView(change)) : changeText(change));
  return EXIT.ok;
}

const changeView = ({ version, expires, added, revoked, signed }: RootReport) => ({
  root: { version, expires },
  added: added.map(({ role, keyId }) => ({ role, key_id: keyId })),
  revoked: revoked.map(({ role, keyId }) => ({ role, key_id: keyId })),
  signed,
});

function changeText({ version, expires, added, revoked }: RootReport): string {
  const line = (sign: string) => (key: RootReport['added'][number]) =>
    `${sign} ${key.role}  ${key.keyId.slice(0, 16)}`;
  return [`root ${version}, until ${expires}`, ...added.map(line('+')), ...revoked.map(line('-'))].join('\n');
}

export interface VerifyOptions {
  readonly json?: boolean;
  readonly root?: string;
}

/** `repo verify DIR`: 1 when a device would refuse anything of it. */
export async function repoVerify(dir: string, options: VerifyOptions, terminal: Terminal): Promise<number> {
  const at = (path: string): string => resolve(terminal.cwd, path);
  const rootFile = options.root === undefined ? null : at(options.root);
  const { root, models } = await verifyRepository(
    { dir: at(dir), rootFile, nowMs: Date.now() },
    terminal.signal,
  );
  const sound = models.every(({ fault }) => fault === null);
  if (options.json === true) {
    const listed = models.map(({ sizeBytes, ...model }) => ({ ...model, size_bytes: sizeBytes }));
    terminal.out(jsonText({ root, models: listed }));
  } else {
    const { good, bad } = paint(terminal.colour.out);
    for (const { name, version, fault } of models)
      terminal.out(
        `${fault ? bad(fault.code) : good('good')}  ${name} ${version}  ${fault?.message ?? ''}`.trim(),
      );
    terminal.out(`root ${root.version}, until ${root.expires}; ${models.length} models`);
  }
  return sound ? EXIT.ok : EXIT.failed;
}

export interface ServeOptions {
  readonly json?: boolean;
  readonly host: string;
  readonly port: string;
}

/** `repo serve DIR`: until it is interrupted. */
export async function repoServe(dir: string, options: ServeOptions, terminal: Terminal): Promise<number> {
  const port = Number(options.port);
  if (!/^\d{1,5}$/.test(options.port) || port > 65_535)
    throw new AgentError('usage', `${JSON.stringify(options.port)} is no port`);
  const asJson = options.json === true;
  const server = await serveRepository(
    { dir: resolve(terminal.cwd, dir), host: options.host, port },
    ({ method, path, status }) => terminal.err(`${status} ${method} ${JSON.stringify(path).slice(1, -1)}`),
  );
  terminal.out(asJson ? JSON.stringify({ url: server.url }) : `model.repository: ${server.url}`);
  await new Promise<void>((done) => {
    if (terminal.signal.aborted) done();
    terminal.signal.addEventListener('abort', () => done(), { once: true });
  });
  await server.close();
  return EXIT.ok;
}

export interface ExportOptions extends RepoOptions {
  readonly out: string;
}

/** `repo export DIR NAME VERSION --out FILE.tar`. */
export async function repoExport(
  dir: string,
  name: string,
  version: string,
  options: ExportOptions,
  terminal: Terminal,
): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const file = resolve(terminal.cwd, options.out);
  const { target, sizeBytes, digest } = await exportTarget(common, name, version, file, terminal.signal);
  const view = { file, size_bytes: sizeBytes, digest, bundle: target.bundle };
  terminal.out(options.json === true ? jsonText(view) : `${file}  ${sizeBytes} bytes  ${digest}`);
  return EXIT.ok;
}
