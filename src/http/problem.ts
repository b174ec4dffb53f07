import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { asAgentError, AgentError, type ErrorCode } from '../base/errors.ts';
import type { Problem } from '../contract/openapi/views.ts';

const STATUS_OF_CODE: Partial<Record<ErrorCode, readonly [status: number, title: string]>> = {
  request_invalid: [400, 'Bad request'],
  request_unauthorized: [401, 'Token required'],
  request_host_refused: [403, 'Host refused'],
  request_origin_refused: [403, 'Origin refused'],
  request_not_found: [404, 'Not found'],
  request_method: [405, 'Method not allowed'],
  request_timeout: [408, 'Request took too long'],
  request_too_large: [413, 'Too large'],
  request_media_type: [415, 'Unsupported media type'],
  request_aborted: [499, 'Client disconnected'],
  request_too_many: [429, 'Too many requests'],
  request_overload: [503, 'Too many connections'],
  request_stopping: [503, 'Stopping'],
  request_streams_full: [503, 'Too many clients'],
  camera_unknown: [404, 'Unknown camera'],
  observation_unknown: [404, 'Unknown observation'],
  observation_image_missing: [404, 'Image not kept'],
  sea_state_unknown: [404, 'Unknown sea state'],
  sea_state_picture_missing: [404, 'Picture not kept'],
  sea_state_unavailable: [409, 'No clips'],
  sea_state_busy: [503, 'Camera busy'],
  camera_no_frame: [404, 'No frame yet'],
  camera_timeout: [504, 'Camera timed out'],
  command_timeout: [504, 'Request took too long'],
  capture_busy: [503, 'Camera busy'],
  label_refused: [409, 'Label refused'],
  calibration_invalid: [422, 'Calibration invalid'],
  config_invalid: [422, 'Configuration invalid'],
  config_locked: [403, 'Not remotely settable'],
  config_busy: [409, 'Another change in progress'],
  config_trial_unknown: [409, 'No such change on trial'],
  usage: [400, 'Bad request'],
  image_empty: [400, 'Not an image'],
  image_corrupt: [400, 'Damaged image'],
  image_unsupported: [415, 'Unsupported image format'],
  image_too_large: [413, 'Image too large'],
  image_rejected: [422, 'Image rejected'],
  model_not_found: [404, 'Unknown model'],
  model_transfer_failed: [502, 'Repository unreachable'],
  model_space: [507, 'Disk full'],
  update_unavailable: [501, 'No updater'],
  update_no_answer: [503, 'Updater not available'],
  store_full: [507, 'Disk full'],
};
const STATUS_OF_FAMILY: Readonly<Record<string, readonly [number, string]>> = {
  camera: [502, 'Camera failed'],
  vision: [503, 'Vision process not available'],
  store: [503, 'Store not available'],
  mqtt: [503, 'Broker not available'],
  model: [409, 'Model not usable'],
  provider: [503, 'Provider not available'],
  update: [409, 'Update not possible'],
};
/** The agent's codes for the status codes that fastify gives to errors of the client. */
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

/** Absolute paths of this machine, which a client must not see. */
const PATHS = /(^|[\s'"(=])(?:\/[\w.@+-]+){2,}\/?|[A-Za-z]:\\[^\s'"]+/g;
const MAX_DETAIL_CHARS = 500;
const DEFAULT_RETRY_AFTER_S = 5;
/** Read the rest of a request for this long, so that the client receives the response and not a connection reset. */
const LINGER_MS = 2000;

/** The problem document (RFC 9457) of any thrown value. It never contains a path, a stack or the message of a foreign error. */
export function toProblem(thrown: unknown): Problem {
  const error = fromFramework(thrown) ?? asAgentError(thrown);
  const { code } = error;
  const [status, title] = STATUS_OF_CODE[code] ??
    STATUS_OF_FAMILY[code.split('_', 1)[0] ?? ''] ?? [500, 'Internal error'];
  const detail =
    status === 500 ? 'internal error; see the log of the agent' : error.message.replace(PATHS, '$1…');
  return {
    type: `urn:swellsight:error:${code}`,
    title,
    status,
    detail: detail.slice(0, MAX_DETAIL_CHARS),
    code,
    hint: error.hint,
  };
}

/** The value of `Retry-After`, seconds: from the context of the error, or a default. */
export function retryAfterS(error: unknown): number {
  const seconds = error instanceof AgentError ? error.context['retryAfterS'] : undefined;
  return typeof seconds === 'number' ? seconds : DEFAULT_RETRY_AFTER_S;
}

/** Converts an error of fastify: bad JSON, failed validation, body too large, unknown media type. */
function fromFramework(thrown: unknown): AgentError | null {
  if (!(thrown instanceof Error) || thrown instanceof AgentError || !('statusCode' in thrown)) return null;
  const code = CLIENT_ERRORS[Number(thrown.statusCode)];
  if (code === undefined) return null;
  const message = 'validation' in thrown ? thrown.message : FRAMEWORK_MESSAGES[code];
  return new AgentError(code, message ?? thrown.message, { cause: thrown });
}

const FRAMEWORK_MESSAGES: Partial<Record<ErrorCode, string>> = {
  request_invalid: 'the request is malformed; the body must be valid JSON',
  request_too_large: 'the request is larger than this path allows',
  request_media_type: 'this path accepts only JSON',
  request_timeout: 'the request did not arrive in time',
};

/** Writes a problem directly to a socket that has no fastify reply, and closes the connection. */
export function writeProblem(
  socket: Socket,
  error: AgentError,
  overrides: { readonly status?: number } = {},
): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = toProblem(error);
  const status = overrides.status ?? problem.status;
  const body = JSON.stringify({ ...problem, status });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? problem.title}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    ...(status === 503 ? [`retry-after: ${retryAfterS(error)}`] : []),
    'connection: close',
  ];
  socket.once('error', () => socket.destroy());
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

/** Converts an error code of Node's HTTP parser or of its timeouts. */
export function parserProblem(code: string | undefined): {
  readonly error: AgentError;
  readonly status?: number;
} {
  if (code === 'HPE_HEADER_OVERFLOW')
    return { error: new AgentError('request_too_large', 'the headers are too long'), status: 431 };
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return { error: new AgentError('request_too_large', 'the chunk extensions are too long') };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { error: new AgentError('request_timeout', 'the request did not arrive in time') };
  return { error: new AgentError('request_invalid', 'the request is not valid HTTP') };
}
