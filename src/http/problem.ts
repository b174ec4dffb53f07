import { asAgentError, AgentError, type ErrorCode } from '../base/errors.ts';
import { redactUrl } from '../base/log.ts';

/** RFC 9457, with the agent's stable code and its hint. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly hint: string;
}

const STATUS: Partial<Record<ErrorCode, readonly [status: number, title: string]>> = {
  request_invalid: [400, 'Bad request'],
  request_unauthorized: [401, 'Token wanted'],
  request_host_refused: [403, 'Host refused'],
  request_origin_refused: [403, 'Origin refused'],
  request_not_found: [404, 'Not found'],
  request_method: [405, 'Method not allowed'],
  request_timeout: [408, 'Request took too long'],
  request_too_large: [413, 'Too large'],
  request_media_type: [415, 'Unsupported media type'],
  request_aborted: [499, 'Client gone'],
  request_too_many: [429, 'Too many requests'],
  request_overload: [503, 'Too many connections'],
  request_stopping: [503, 'Stopping'],
  request_streams_full: [503, 'Too many clients'],
  camera_unknown: [404, 'Unknown camera'],
  observation_unknown: [404, 'Unknown observation'],
  camera_no_frame: [404, 'No frame yet'],
  camera_timeout: [504, 'Camera too slow'],
  label_refused: [409, 'Label refused'],
  calibration_invalid: [422, 'Calibration not usable'],
  config_invalid: [422, 'Configuration not valid'],
  config_locked: [403, 'Not to be set remotely'],
  config_busy: [409, 'Another change is under way'],
  config_trial_unknown: [409, 'No such change on trial'],
  usage: [400, 'Bad request'],
  image_empty: [400, 'Not an image'],
  image_corrupt: [400, 'Damaged image'],
  image_unsupported: [415, 'Unsupported image format'],
  image_too_large: [413, 'Image too large'],
  image_rejected: [422, 'Image rejected'],
  model_not_found: [404, 'Unknown model'],
  model_transfer_failed: [502, 'Repository cannot be reached'],
  model_space: [507, 'Disk full'],
  store_full: [507, 'Disk full'],
};
const BY_FAMILY: Readonly<Record<string, readonly [number, string]>> = {
  camera: [502, 'Camera failed'],
  vision: [503, 'Vision process not available'],
  store: [503, 'Store not available'],
  mqtt: [503, 'Broker not available'],
  model: [409, 'Model not usable'],
  provider: [503, 'Provider not available'],
};
/** Error codes of fastify and of Node's HTTP parser that are the client's doing. */
const CLIENT_ERRORS: Readonly<Record<number, ErrorCode>> = {
  400: 'request_invalid',
  404: 'request_not_found',
  405: 'request_method',
  408: 'request_timeout',
  413: 'request_too_large',
  414: 'request_too_large',
  415: 'request_media_type',
  431: 'request_too_large',
};

/** Absolute paths have no business outside the machine. */
const PATHS = /(^|[\s'"(=])(?:\/[\w.@+-]+){2,}\/?|[A-Za-z]:\\[^\s'"]+/g;
const MAX_DETAIL = 500;
const RETRY_AFTER_S = 5;

/** Any thrown value as the document that the client gets. Never carries a path, a stack or a foreign error's text. */
export function problemOf(thrown: unknown): Problem {
  const error = fromFramework(thrown) ?? asAgentError(thrown);
  const { code } = error;
  const [status, title] = STATUS[code] ?? BY_FAMILY[code.split('_', 1)[0] ?? ''] ?? [500, 'Internal error'];
  const detail =
    status === 500
      ? 'something went wrong inside; the log says more'
      : redactUrl(error.message).replace(PATHS, '$1…');
  return {
    type: `urn:swellsight:error:${code}`,
    title,
    status,
    detail: detail.slice(0, MAX_DETAIL),
    code,
    hint: error.hint,
  };
}

/** When to come again, seconds: what the one who refused says, or a guess. */
export function retryAfterS(error: unknown): number {
  const said = error instanceof AgentError ? error.context['retryAfterS'] : undefined;
  return typeof said === 'number' ? said : RETRY_AFTER_S;
}

/** Fastify's own refusals: bad JSON, failed validation, body too large, unknown media type. */
function fromFramework(thrown: unknown): AgentError | null {
  if (!(thrown instanceof Error) || thrown instanceof AgentError || !('statusCode' in thrown)) return null;
  const code = CLIENT_ERRORS[Number(thrown.statusCode)];
  if (code === undefined) return null;
  const message = 'validation' in thrown ? thrown.message : PLAIN[code];
  return new AgentError(code, message ?? thrown.message, { cause: thrown });
}

const PLAIN: Partial<Record<ErrorCode, string>> = {
  request_invalid: 'the request cannot be read: is its body JSON?',
  request_too_large: 'the request is larger than this path takes',
  request_media_type: 'this path takes JSON only',
  request_timeout: 'the request did not arrive in time',
};
