import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import type { CameraErrorCode } from '../camera.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';

interface FailureClass {
  readonly code: CameraErrorCode;
  readonly problem: string;
  readonly hint: keyof typeof CAUSE_REMEDIES | null;
}

const UNREACHABLE = 'cannot be reached';
/** By the code of Node or OpenSSL, the most specific first. */
const FAILURE_CLASSES: readonly (readonly [RegExp, FailureClass])[] = [
  [/TIMEOUT|ETIMEDOUT/, { code: 'camera_timeout', problem: 'does not answer', hint: null }],
  [
    /^(EPROTO|ERR_SSL_)/,
    { code: 'camera_unreachable', problem: 'does not speak TLS', hint: 'other_protocol' },
  ],
  [/^ECONNREFUSED$/, { code: 'camera_unreachable', problem: UNREACHABLE, hint: 'refused_port' }],
  [/^(ENOTFOUND|EAI_)/, { code: 'camera_unreachable', problem: UNREACHABLE, hint: 'unknown_host' }],
];
const OTHER_FAILURE: FailureClass = { code: 'camera_unreachable', problem: UNREACHABLE, hint: null };

/** Converts a failure of a connection before the response to a camera error. */
export function toCameraError(failure: unknown): AgentError {
  const reason = errorCode(failure) ?? '';
  const { code, problem, hint } =
    FAILURE_CLASSES.find(([pattern]) => pattern.test(reason))?.[1] ?? OTHER_FAILURE;
  return new AgentError(code, `the camera ${problem}${reason === '' ? '' : ` (${reason})`}`, {
    cause: failure,
    ...(hint === null ? {} : { hint: CAUSE_REMEDIES[hint] }),
  });
}
