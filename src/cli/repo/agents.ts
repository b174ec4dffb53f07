import { resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { exportAgent } from '../../model/repository/export.ts';
import { publish } from '../../model/repository/publish.ts';
import type { ReleaseArch } from '../../model/trust/release-target.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import type { RepoExportOptions } from './models.ts';
import { repositoryOptions, type RepoOptions } from './options.ts';

export interface RepoPublishAgentOptions extends RepoOptions {
  readonly withdraw: readonly string[];
}

/** `repo publish-agent DIR ARCHIVE...`: adds and withdraws versions of the agent, and signs. */
export async function publishAgents(
  dir: string,
  archives: readonly string[],
  options: RepoPublishAgentOptions,
  terminal: Terminal,
): Promise<number> {
  if (archives.length + options.withdraw.length === 0)
    throw new AgentError('usage', 'name an archive, or a version with --withdraw');
  const common = await repositoryOptions(dir, options, terminal);
  const { agents, versions, expires } = await publish(
    {
      ...common,
      bundles: [],
      withdraw: [],
      agents: archives.map((archive) => resolve(terminal.cwd, archive)),
      withdrawAgents: options.withdraw,
      timestampOnly: false,
    },
    terminal.signal,
  );
  if (options.json === true) {
    const listed = agents.map(({ sizeBytes, ...agent }) => ({ ...agent, size_bytes: sizeBytes }));
    terminal.out(toJson({ agents: listed, versions, expires }));
    return EXIT.ok;
  }
  for (const { version, arch, outcome, digest, sizeBytes } of agents)
    terminal.out(`${outcome}  agent ${version} ${arch}  ${sizeBytes} bytes  ${digest}`);
  terminal.out(`signed; sign a new timestamp before ${expires.timestamp}`);
  return EXIT.ok;
}

/** `repo export-agent DIR VERSION ARCH --out FILE.tar`: writes the archive for an update over MQTT. */
export async function exportAgentArchive(
  dir: string,
  version: string,
  arch: string,
  options: RepoExportOptions,
  terminal: Terminal,
): Promise<number> {
  if (!isArch(arch)) throw new AgentError('usage', `${JSON.stringify(arch)} is not amd64 or arm64`);
  const common = await repositoryOptions(dir, options, terminal);
  const file = resolve(terminal.cwd, options.out);
  const { target, sizeBytes, digest } = await exportAgent(common, version, arch, file, terminal.signal);
  const document = { file, size_bytes: sizeBytes, digest, agent: { version, arch, sha256: target.sha256 } };
  terminal.out(options.json === true ? toJson(document) : `${file}  ${sizeBytes} bytes  ${digest}`);
  return EXIT.ok;
}

const isArch = (text: string): text is ReleaseArch => text === 'amd64' || text === 'arm64';
