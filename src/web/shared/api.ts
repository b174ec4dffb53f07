import { signal } from '@preact/signals';

/** What the agent answers instead of a result: a problem document, or the failed connection. */
export class RequestProblem extends Error {
  override readonly name = 'RequestProblem';
  readonly code: string;
  /** What a person can do about it. */
  readonly hint: string;
  /** 0 without an answer. */
  readonly status: number;

  constructor(problem: { code: string; detail: string; hint: string; status: number }) {
    super(problem.detail);
    this.code = problem.code;
    this.hint = problem.hint;
    this.status = problem.status;
  }
}

const TOKEN_KEY = 'swellsight.token';

/** Whether the agent wants a token, or another one. */
export const tokenWanted = signal(false);
/** Time of the agent minus time of this browser, ms. Ages are computed with it: one of the clocks may be wrong. */
export const clockOffsetMs = signal(0);

/** The time by the clock of the agent, ms. */
export const agentNow = (): number => Date.now() + clockOffsetMs.value;

/** Keeps the token until the tab is closed. */
export function setToken(token: string): void {
  try {
    sessionStorage.setItem(TOKEN_KEY, token);
  } catch {
    tokenInMemory = token;
  }
  tokenWanted.value = false;
}
let tokenInMemory: string | null = null;

function readToken(): string | null {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? tokenInMemory;
  } catch {
    return tokenInMemory;
  }
}

/** Sends one request with the token. Rejects with `RequestProblem`, and with `AbortError`. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const token = readToken();
  const headers = new Headers(init.headers);
  if (token !== null) headers.set('authorization', `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(`.${path}`, { ...init, headers, cache: 'no-store' });
  } catch (thrown) {
    if (init.signal?.aborted) throw thrown;
    throw new RequestProblem({
      code: 'unreachable',
      detail: 'The agent does not answer.',
      hint: 'Check the network, and whether the agent runs.',
      status: 0,
    });
  }
  noteClock(response);
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (problem.status === 401) tokenWanted.value = true;
  throw problem;
}

/** Requests a JSON document. The caller names its type: it is the one of the operation in the OpenAPI document. */
export async function requestJson<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await request(path, init)).json()) as T;
}

/** Sends a JSON body. */
export const jsonBody = (method: 'POST' | 'PUT' | 'PATCH', body: unknown): RequestInit => ({
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** Requests an image. The caller revokes the address when it shows the image no longer; null: there is no image. */
export async function requestImage(path: string, signal?: AbortSignal): Promise<string | null> {
  try {
    const response = await request(path, signal ? { signal } : {});
    if (response.status === 204) return null;
    return URL.createObjectURL(await response.blob());
  } catch (thrown) {
    if (thrown instanceof RequestProblem && thrown.status === 404) return null;
    throw thrown;
  }
}

/** Header `Date` has whole seconds: smaller differences mean nothing. */
function noteClock(response: Response): void {
  const at = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(at)) return;
  const offsetMs = at + 500 - Date.now();
  clockOffsetMs.value = Math.abs(offsetMs) < 2000 ? 0 : offsetMs;
}

async function readProblem(response: Response): Promise<RequestProblem> {
  const body = (await response.json().catch(() => null)) as Record<string, unknown> | null;
  const text = (name: string, usual: string): string => {
    const value = body?.[name];
    return typeof value === 'string' ? value : usual;
  };
  return new RequestProblem({
    code: text('code', 'unknown'),
    detail: text('detail', `The agent answered with status ${String(response.status)}.`),
    hint: text('hint', ''),
    status: response.status,
  });
}

/** Whether a token was typed, right or wrong. */
export const hasToken = (): boolean => readToken() !== null;
