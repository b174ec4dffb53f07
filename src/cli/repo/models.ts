import { resolve } from 'node:path';
import { untilAborted } from '../../base/abort.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { exportTarget } from '../../model/repository/export.ts';
import { publish } from '../../model/repository/publish.ts';
import { serveRepository } from '../../model/repository/serve.ts';
import { verifyRepository } from '../../model/repository/verify.ts';
import { bad, good, line } from '../line.ts';
import { EXIT, printJson, toJson, toJsonLine, type Terminal } from '../terminal.ts';
import { repositoryOptions, type RepoOptions } from './options.ts';

export interface RepoPublishOptions extends RepoOptions {
  readonly withdraw: readonly string[];
  readonly timestampOnly?: boolean;
  /** False with `--no-test`. */
  readonly test: boolean;
}

/** `repo publish DIR BUNDLE...`: tests the bundles as `model test` does, adds and withdraws models, and signs. */
export async function publishModels(
  dir: string,
  bundles: readonly string[],
  options: RepoPublishOptions,
  terminal: Terminal,
): Promise<number> {
  const timestampOnly = options.timestampOnly === true;
  if (timestampOnly && bundles.length + options.withdraw.length > 0)
    throw new AgentError('usage', '--timestamp-only publishes and withdraws nothing');
  const common = await repositoryOptions(dir, options, terminal);
  if (options.test) for (const bundle of bundles) await testBeforePublish(bundle, terminal);
  const published = await publish(
    {
      ...common,
      bundles: bundles.map((bundle) => resolve(terminal.cwd, bundle)),
      withdraw: options.withdraw,
      timestampOnly,
    },
    terminal.signal,
  );
  if (options.json === true) {
    const { versions, expires } = published;
    const models = published.models.map(({ sizeBytes, ...model }) => ({ ...model, size_bytes: sizeBytes }));
    return printJson(terminal, { models, versions, expires });
  }
  for (const { name, version, outcome, digest, sizeBytes } of published.models)
    terminal.out(`${outcome}  ${name} ${version}  ${sizeBytes} bytes  ${digest}`);
  terminal.out(`signed; sign a new timestamp before ${published.expires.timestamp}`);
  return EXIT.ok;
}

async function testBeforePublish(bundle: string, terminal: Terminal): Promise<void> {
  const { tryBundle } = await import('../model/test.ts');
  try {
    await tryBundle(resolve(terminal.cwd, bundle), terminal);
  } catch (thrown) {
    terminal.signal.throwIfAborted();
    const { code, message } = asAgentError(thrown);
    throw new AgentError(code, `${bundle} is not published: ${message}`, {
      hint:
        code === 'model_requires'
          ? 'publish with a newer version of this program, or on another machine'
          : 'correct the bundle; where only this machine cannot run it, publish with --no-test',
      cause: thrown,
    });
  }
}

export interface RepoVerifyOptions {
  readonly json?: boolean;
  readonly root?: string;
}

/** `repo verify DIR`: verifies like a device. Exits with 1 when a device would refuse a model. */
export async function verifyRepo(
  dir: string,
  options: RepoVerifyOptions,
  terminal: Terminal,
): Promise<number> {
  const resolvePath = (path: string): string => resolve(terminal.cwd, path);
  const rootFile = options.root === undefined ? null : resolvePath(options.root);
  const { root, models, agents } = await verifyRepository(
    { dir: resolvePath(dir), rootFile, nowMs: Date.now() },
    terminal.signal,
  );
  const isValid = [...models, ...agents].every(({ fault }) => fault === null);
  if (options.json === true) {
    const toListed = <T extends { readonly sizeBytes: number }>({ sizeBytes, ...other }: T) => ({
      ...other,
      size_bytes: sizeBytes,
    });
    terminal.out(toJson({ root, models: models.map(toListed), agents: agents.map(toListed) }));
  } else {
    const named = [
      ...models.map(({ name, version, fault }) => ({ label: `${name} ${version}`, fault })),
      ...agents.map(({ version, arch, fault }) => ({ label: `agent ${version} ${arch}`, fault })),
    ];
    for (const { label, fault } of named)
      terminal.out(
        fault ? line`${bad(fault.code)}  ${label}  ${fault.message}` : line`${good('valid')}  ${label}`,
      );
    const content = agents.length > 0 ? `${agents.length} agents` : `${models.length} models`;
    terminal.out(`root ${root.version}, valid until ${root.expires}; ${content}`);
  }
  return isValid ? EXIT.ok : EXIT.failed;
}

export interface RepoServeOptions {
  readonly json?: boolean;
  readonly host: string;
  readonly port: string;
}

/** `repo serve DIR`: serves the repository by HTTP until the signal fires. */
export async function serveRepo(dir: string, options: RepoServeOptions, terminal: Terminal): Promise<number> {
  const port = Number(options.port);
  if (!/^\d{1,5}$/.test(options.port) || port > 65_535)
    throw new AgentError('usage', `${JSON.stringify(options.port)} is not a port`);
  const asJson = options.json === true;
  const server = await serveRepository(
    { dir: resolve(terminal.cwd, dir), host: options.host, port },
    ({ method, path, status }) => terminal.err(`${status} ${method} ${JSON.stringify(path).slice(1, -1)}`),
  );
  terminal.out(asJson ? toJsonLine({ url: server.url }) : `model.repository: ${server.url}`);
  await untilAborted(terminal.signal);
  await server.close();
  return EXIT.ok;
}

export interface RepoExportOptions extends RepoOptions {
  readonly out: string;
}

/** `repo export DIR NAME VERSION --out FILE.tar`: writes the archive for an install over MQTT. */
export async function exportModel(
  dir: string,
  name: string,
  version: string,
  options: RepoExportOptions,
  terminal: Terminal,
): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const file = resolve(terminal.cwd, options.out);
  const { target, sizeBytes, digest } = await exportTarget(common, name, version, file, terminal.signal);
  const document = { file, size_bytes: sizeBytes, digest, bundle: target.bundle };
  terminal.out(options.json === true ? toJson(document) : `${file}  ${sizeBytes} bytes  ${digest}`);
  return EXIT.ok;
}
