import { AgentError, ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { readOptionFile } from '../options.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every command that sends requests to a running agent. */
export interface AgentOptions {
  /** Its configuration file: the default of `url` and of the token. */
  readonly config?: string;
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export const DEFAULT_URL = 'http://127.0.0.1:8080';
const DEFAULT_TIMEOUT_S = 15;
const TOKEN_HINT = 'name the file of its http.token with --token-file (or SWELLSIGHT_TOKEN_FILE)';

export interface AgentRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'PUT';
  readonly body?: unknown;
  readonly timeoutS?: number;
  /** Status codes other than 2xx that are no error. */
  readonly acceptedStatus?: readonly number[];
}

/** HTTP client of a running agent. Throws the error codes of the agent, or `agent_unreachable`. */
export class AgentClient {
  readonly #base: URL;
  readonly #token: string | null;
  readonly #signal: AbortSignal;

  /** Throws `usage` for an invalid URL or token, or an unreadable token file. */
  constructor(options: AgentOptions, terminal: Terminal) {
    const text = options.url ?? terminal.env['SWELLSIGHT_URL'] ?? DEFAULT_URL;
    const base = URL.parse(text);
    if (base === null || !/^https?:$/.test(base.protocol))
      throw new AgentError('usage', `--url ${JSON.stringify(text)} is not an http:// or https:// address`);
    // Behind a proxy, the address of an agent may have a path.
    base.pathname = base.pathname.replace(/\/*$/, '/');
    base.search = '';
    base.hash = '';
    this.#base = base;
    this.#token = readToken(options, terminal.env);
    this.#signal = terminal.signal;
  }

  async request<T>(
    path: string,
    { method = 'GET', body, timeoutS = DEFAULT_TIMEOUT_S, acceptedStatus = [] }: AgentRequest = {},
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
      throw new AgentError(
        'agent_unreachable',
        `no answer from ${this.#base.origin} (${describeFailure(error)})`,
        {
          cause: error,
        },
      );
    }
    const answer = parseJson(text);
    if (answer !== undefined && (response.ok || acceptedStatus.includes(response.status))) return answer as T;
    throw toError(answer, response.status, this.#base.origin);
  }
}

function readToken({ token, tokenFile }: AgentOptions, env: NodeJS.ProcessEnv): string | null {
  if (token !== undefined && tokenFile !== undefined)
    throw new AgentError('usage', '--token and --token-file exclude each other');
  if (token !== undefined) return checkToken(token);
  const path = tokenFile ?? env['SWELLSIGHT_TOKEN_FILE'];
  if (path === undefined || path === '') return checkToken(env['SWELLSIGHT_TOKEN'] ?? '');
  return checkToken(readOptionFile('token', path).trim());
}

/** Checks that a header can transport the token. Returns null for an empty one. */
function checkToken(token: string): string | null {
  if (!/^[\x21-\x7e]*$/.test(token))
    throw new AgentError('usage', 'the token has characters that are not allowed in a token');
  return token === '' ? null : token;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function toError(answer: unknown, status: number, origin: string): AgentError {
  if (typeof answer === 'object' && answer !== null && 'code' in answer && 'detail' in answer) {
    const { code, detail } = answer;
    const hint = 'hint' in answer && typeof answer.hint === 'string' ? { hint: answer.hint } : {};
    if (code === 'request_unauthorized') return new AgentError(code, String(detail), { hint: TOKEN_HINT });
    if (typeof code === 'string' && Object.hasOwn(ERROR_CODES, code))
      return new AgentError(code as ErrorCode, withOptionNames(String(detail)), hint);
  }
  return new AgentError(
    'agent_unreachable',
    `${origin} answers with ${String(status)}, but it is not an agent`,
  );
}

/** `--limit must be <= 1000` for `querystring/limit must be <= 1000`. */
const withOptionNames = (detail: string): string =>
  detail
    .replace(/\bquerystring\/(\w+)/g, (_, name: string) => `--${name.replaceAll('_', '-')}`)
    .replace(/\bbody\/(\w+)/g, '$1');

function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'timeout';
  const { cause } = error;
  if (cause instanceof Error && 'code' in cause) return String(cause.code);
  return cause instanceof Error ? cause.message : error.message;
}
