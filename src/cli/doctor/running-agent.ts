import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { AgentStatus, LinkView } from '../../contract/openapi/views.ts';
import { createLocalClient, localUrl } from '../agent/local-client.ts';
import type { DoctorContext } from './context.ts';

const TIMEOUT_S = 10;

/** Whether an agent with these settings runs on this machine. */
export type RunningAgent =
  | { readonly kind: 'none' }
  | { readonly kind: 'answers'; readonly link: LinkView }
  /** It holds the state directory, but gives no status. `pid` is null where the system does not tell. */
  | { readonly kind: 'silent'; readonly pid: number | null; readonly reason: AgentError };

/** Asks the agent at the HTTP address of the settings, and looks for a process that holds the state directory. */
export async function findRunningAgent({ settings, terminal }: DoctorContext): Promise<RunningAgent> {
  const { findLockHolder, LOCK_FILE } = await import('../../store/file/lock.ts');
  const holder = findLockHolder(join(settings.stateDir, LOCK_FILE));
  const silent = (reason: AgentError): RunningAgent => ({ kind: 'silent', pid: holder?.pid ?? null, reason });
  const at = localUrl(settings.http);
  try {
    const client = createLocalClient({}, settings, terminal);
    const status = await client.request<AgentStatus>('/api/v1/status', { timeoutS: TIMEOUT_S });
    const { site, device } = status.info;
    const isSame = site === settings.site && device === settings.device;
    if (isSame && status.link) return { kind: 'answers', link: status.link };
    if (isSame)
      return silent(new AgentError('agent_unreachable', `the agent at ${at} is of an older version`));
    const other = new AgentError('agent_unreachable', `the agent at ${at} is ${site}/${device}`);
    return holder === null ? { kind: 'none' } : silent(other);
  } catch (thrown) {
    terminal.signal.throwIfAborted();
    const error = asAgentError(thrown);
    // Another answer, such as a refused token, comes from an agent too.
    return holder === null && error.code === 'agent_unreachable' ? { kind: 'none' } : silent(error);
  }
}
