import { AgentError } from '../../base/errors.ts';
import { parseChallenges } from '../http/auth.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';

/**
 * Whether a refusal ends the stream. One of OPTIONS, or of a request that keeps the session alive, does not; but a refused
 * login is not repeated, because cameras lock accounts.
 */
export const isDecisive = (method: string, status: number): boolean =>
  /^(DESCRIBE|SETUP|PLAY)$/.test(method) || (method === 'OPTIONS' && status === 401);

/** A refused SETUP with one of these statuses has nothing to do with the transport. */
const OTHER_CAUSES: ReadonlySet<number> = new Set([401, 403, 404, 453, 454, 503]);

/** Whether the camera may accept another transport. Some cameras answer 400 or 500 instead of 461. */
export const mayAcceptOtherTransport = (method: string, status: number): boolean =>
  method === 'SETUP' && !OTHER_CAUSES.has(status);

interface Refusal {
  readonly status: number;
  readonly method: string;
  /** `WWW-Authenticate`. */
  readonly challenge: string | null;
  /** True: the settings have a login. */
  readonly hasLogin: boolean;
  /** How often the login was sent. */
  readonly attempts: number;
}

/** The failure for a status of 400 or more. The camera's own words stay out: it chooses them. */
export function refusalError(refusal: Refusal): AgentError {
  const { status, method } = refusal;
  if (status === 401) return loginError(refusal);
  const answer = `the camera answered ${method} with status ${String(status)}`;
  const context = { status, method };
  if (status === 403)
    return new AgentError('camera_auth', answer, { context, hint: CAUSE_REMEDIES.forbidden });
  return new AgentError('camera_unreachable', answer, { context, hint: CAUSE_REMEDIES[causeOf(refusal)] });
}

function causeOf({ status, method }: Refusal): keyof typeof CAUSE_REMEDIES {
  if (status === 404) return 'unknown_path';
  if (status === 453 || status === 503) return 'too_many_viewers';
  if (mayAcceptOtherTransport(method, status)) return 'refused_transport';
  // 454: the camera has forgotten the session.
  return status >= 500 || status === 454 ? 'camera_fault' : 'refused_request';
}

function loginError({ challenge, hasLogin, attempts, method }: Refusal): AgentError {
  const context = { status: 401, method };
  if (!hasLogin)
    return new AgentError('camera_auth', 'the camera asks for a login', {
      context,
      hint: 'set username, and password or password_file',
    });
  if (parseChallenges(challenge ?? '').length === 0)
    return new AgentError('camera_auth', 'the camera asks for a login, but names no method of login', {
      context,
      hint: CAUSE_REMEDIES.unknown_login,
    });
  if (attempts === 0)
    return new AgentError(
      'camera_auth',
      'the camera asks for a login that is neither Basic nor Digest with MD5 or SHA-256',
      { context, hint: CAUSE_REMEDIES.unknown_login },
    );
  return new AgentError('camera_auth', 'the camera refuses the login (status 401)', { context });
}

export const closedError = (): AgentError =>
  new AgentError('camera_unreachable', 'the camera closed the connection without an answer', {
    hint: CAUSE_REMEDIES.closed,
  });
