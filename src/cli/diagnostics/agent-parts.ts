import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../../config/schema.ts';
import { MAX_LOG_LINES } from '../../control/recent-log.ts';
import type { AgentClient } from '../agent/client.ts';
import type { Terminal } from '../terminal.ts';
import { MAX_LOG_BYTES, type Part } from './archive.ts';
import type { RunTool } from './program-output.ts';

const REQUEST = { timeoutS: 10, acceptedStatus: [503] } as const;
const MAX_STATE_FILE_BYTES = 256 * 1024;

/** Documents of the running agent, by the path of its local API. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  'status.json': '/api/v1/status',
  'health.json': '/health/detailed',
  'cameras.json': '/api/v1/cameras',
  'outbox.json': '/api/v1/outbox',
  'models.json': '/api/v1/models/info',
  'agent-versions.json': '/api/v1/agent',
};

/** What the running agent answers, and its log, which otherwise comes from the journal. */
export function agentParts(client: AgentClient, run: RunTool): readonly Part[] {
  return [
    ...Object.entries(DOCUMENTS).map(([file, path]) => ({
      file,
      read: () => client.request<unknown>(path, REQUEST),
    })),
    {
      file: 'log.jsonl',
      maxBytes: MAX_LOG_BYTES,
      read: async () => {
        try {
          const { lines } = await client.request<{ lines: readonly string[] }>(
            `/api/v1/log?limit=${String(MAX_LOG_LINES)}`,
            REQUEST,
          );
          return lines.join('\n');
        } catch (unreachable) {
          const lines = `--lines=${String(MAX_LOG_LINES)}`;
          return run('journalctl', '--unit=swellsight', '--output=cat', '--no-pager', lines).catch(
            (denied: unknown) => {
              throw new Error(`${messageOf(unreachable)}; ${messageOf(denied)}`);
            },
          );
        }
      },
    },
  ];
}

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Small files of the state, which are also there without a running agent. */
export function stateParts(settings: Settings | null, { env }: Pick<Terminal, 'env'>): readonly Part[] {
  const stateDir = settings?.stateDir ?? '/var/lib/swellsight';
  const updaterDir = env['SWELLSIGHT_UPDATER_STATE'] ?? '/var/lib/swellsight-updater';
  const part = (file: string, path: string): Part => ({ file, read: () => readStateFile(path) });
  return [
    part('last-stop.json', join(stateDir, 'last-stop.json')),
    part('model-slots.json', join(stateDir, 'models', 'slots.json')),
    part('updater-state.json', join(updaterDir, 'state.json')),
  ];
}

function readStateFile(path: string): unknown {
  if (statSync(path).size > MAX_STATE_FILE_BYTES) throw new Error(`${path} is too large`);
  return JSON.parse(readFileSync(path, 'utf8')) as unknown;
}
