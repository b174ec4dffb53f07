import { signal } from '@preact/signals';
import { served } from './served.ts';

/** Where the page connects to, and as whom. */
export interface Login {
  /** `ws://` or `wss://`; ignored with `fleet serve`. */
  readonly broker: string;
  readonly base: string;
  readonly username: string;
  readonly password: string;
}

const SESSION_KEY = 'swellsight.fleet.login';
const USUAL_BASE = 'swellsight/v1';

/** The login of this session, until the tab is closed; null: the page asks for it. */
export const login = signal<Login | null>(read(sessionStorage, SESSION_KEY));

/** What the form shows first: the address of the page may name broker, base and user, and never a password. */
export function suggestedLogin(params: URLSearchParams): Login {
  const before = read(localStorage, SESSION_KEY);
  return {
    broker: params.get('broker') ?? before?.broker ?? '',
    base: params.get('base') ?? served?.base ?? before?.base ?? USUAL_BASE,
    username: params.get('user') ?? before?.username ?? '',
    password: '',
  };
}

export function openLogin(next: Login): void {
  login.value = next;
  write(sessionStorage, next);
  // Kept beyond the session: not the password.
  write(localStorage, { ...next, password: '' });
}

export function closeLogin(): void {
  login.value = null;
  try {
    sessionStorage.removeItem(SESSION_KEY);
  } catch {
    // A browser may refuse storage: the login then lasts until the page is closed.
  }
}

function write(storage: Storage, value: Login): void {
  try {
    storage.setItem(SESSION_KEY, JSON.stringify(value));
  } catch {
    // As above.
  }
}

function read(storage: Storage, key: string): Login | null {
  try {
    const value = JSON.parse(storage.getItem(key) ?? 'null') as Partial<Login> | null;
    const { broker, base, username, password } = value ?? {};
    const isComplete = [broker, base, username, password].every((text) => typeof text === 'string');
    return isComplete ? (value as Login) : null;
  } catch {
    return null;
  }
}
