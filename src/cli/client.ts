import { readFileSync } from 'node:fs';
import { AgentError, ERROR_CODES, type ErrorCode } from '../base/errors.ts';
import { deadlineSignal } from '../base/deadline.ts';
import type { Terminal } from './terminal.ts';

export interface ClientOptions {
  readonly url?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export const DEFAULT_URL = 'http://127.0.0.1:8080';
const ANSWER_WITHIN_S = 15;

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'PUT';
  readonly body?: unknown;
  readonly timeoutS?: number;
  /** Status codes besides 2xx that carry an answer and not a problem. */
  readonly also?: readonly number[];
}

/** Speaks to a running agent. Errors are the agent's own codes, or `agent_unreachable`. */
export class AgentClient {
  readonly #base: URL;
  readonly #token: string | null;
  readonly #signal: AbortSignal;

  /** Throws `usage` for a URL or token file that cannot be. */
  constructor(options: ClientOptions, terminal: Terminal) {
    const text = options.url ?? terminal.env['SWELLSIGHT_URL'] ?? DEFAULT_URL;
    const base = URL.parse(text);
    if (base === null || !/^https?:$/.test(base.protocol))
      throw new AgentError('usage', `--url ${JSON.stringify(text)} is no http:// address`);
    // Behind a proxy an agent may lie below a path.
    base.pathname = base.pathname.replace(/\/*$/, '/');
    base.search = '';
    base.hash = '';
    this.#base = base;
    this.#token = readToken(options, terminal.env);
    this.#signal = terminal.signal;
  }

  async ask<T>(
    path: string,
    { method = 'GET', body, timeoutS = ANSWER_WITHIN_S, also = [] }: Ask = {},
  ): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(path.replace(/^\//, ''), this.#base), {
        method,
        headers: {
          ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: deadlineSignal(timeoutS * 1000, this.#signal),
      });
      text = await response.text();
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new AgentError('agent_unreachable', `no answer from ${this.#base.origin} (${reason(error)})`, {
        cause: error,
      });
    }
    const answer = parse(text);
    if (answer !== undefined && (response.ok || also.includes(response.status))) return answer as T;
    throw toError(answer, response.status, this.#base.origin);
  }
}

function readToken({ token, tokenFile }: ClientOptions, env: NodeJS.ProcessEnv): string | null {
  if (token !== undefined && tokenFile !== undefined)
    throw new AgentError('usage', '--token and --token-file exclude each other');
  if (token !== undefined) return printable(token);
  const path = tokenFile ?? env['SWELLSIGHT_TOKEN_FILE'];
  if (path === undefined || path === '') return printable(env['SWELLSIGHT_TOKEN'] ?? '');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new AgentError('usage', `the token file ${path} cannot be read`, { cause: error });
  }
  return printable(text.trim());
}

/** What a header can carry. Null for nothing. */
function printable(token: string): string | null {
  if (!/^[\x21-\x7e]*$/.test(token))
    throw new AgentError('usage', 'the token has characters that no token has');
  return token === '' ? null : token;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function toError(answer: unknown, status: number, origin: string): AgentError {
  if (typeof answer === 'object' && answer !== null && 'code' in answer && 'detail' in answer) {
    const { code, detail } = answer;
    if (typeof code === 'string' && Object.hasOwn(ERROR_CODES, code))
      return new AgentError(code as ErrorCode, String(detail));
  }
  return new AgentError('agent_unreachable', `${origin} answers ${String(status)}, but not as an agent does`);
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'too slow';
  const { cause } = error;
  if (cause instanceof Error && 'code' in cause) return String(cause.code);
  return cause instanceof Error ? cause.message : error.message;
}
