import { firstFailure } from './closing.ts';
import { mapTexts, redactAddresses } from './redact.ts';

const transient = (hint: string) => ({ retryable: true, hint });
const permanent = (hint: string) => ({ retryable: false, hint });

/** The codes of all failures that a part of the agent reports. docs/errors.md is generated from this table. */
export const ERROR_CODES = {
  config_invalid: permanent('run `swellsight check-config` and correct the keys that it names'),
  config_locked: permanent('set it in the configuration file of the device'),
  config_busy: transient('wait until the pending change is confirmed or undone'),
  config_trial_unknown: permanent(
    'the change was undone or is already confirmed; read the present state with config.get',
  ),
  usage: permanent('see `swellsight --help`'),
  agent_unreachable: transient(
    'check that the agent runs and that --url (or http.host and http.port) is right',
  ),
  internal: permanent('report it together with the log lines around it'),

  camera_auth: transient('check the user name and the password of the camera'),
  camera_certificate: permanent(
    'check the certificate of the camera; pin it with tls.fingerprint256, or name its authority with tls.ca',
  ),
  camera_unreachable: transient('check the address or the path, the cable and the power of the camera'),
  camera_timeout: transient('the camera answers too slowly; increase its timeoutS'),
  camera_codec: transient('the camera sends no image or video that can be decoded; check its format'),
  camera_no_frame: transient('the camera is connected but sends no image; restart it'),
  camera_ended: transient('the stream ended; check the camera if this happens often'),
  camera_command: transient('run the capture command by hand and read its output'),
  camera_program_missing: transient('install the named program (ffmpeg for streams)'),

  image_empty: permanent('the file has no bytes'),
  image_unsupported: permanent('send JPEG, PNG or WebP'),
  image_corrupt: permanent('the image is truncated or damaged'),
  image_too_large: permanent('send a smaller image'),
  image_rejected: permanent(
    'the image quality does not allow a measurement; without `strict` the answer shows the quality signals',
  ),

  vision_crashed: transient('the vision process crashed; the agent starts it again'),
  vision_timeout: transient('increase inference.timeoutS or use a smaller model'),
  vision_busy: transient('the queue is full; try again later'),
  vision_closed: transient('the vision process is stopping'),
  vision_start_failed: transient('the model could not be opened; see the event for the reason'),
  vision_output_invalid: permanent('the model output has NaN or a wrong shape; install another version'),

  model_not_found: permanent('check model.active and the directory models/'),
  model_manifest_invalid: permanent('correct model.json; `swellsight model inspect DIR` lists the faults'),
  model_bundle_refused: permanent(
    'the bundle contains links, unlisted files or references to files outside; pack it again',
  ),
  model_unsigned: permanent('install a signed model, or set model.allowUnsigned'),
  model_digest_mismatch: permanent('the bytes are damaged or were changed; install it again'),
  model_requires: permanent('the model needs another agent version, provider or hardware'),
  model_slots_damaged: permanent(
    'the damaged file was set aside and the factory model runs; install the model again',
  ),
  model_install_busy: transient('wait for the current install, or abort it'),
  model_install_aborted: permanent('an operator aborted the install'),
  model_install_none: permanent('there is no current install'),
  model_pinned: permanent('model.active pins a model; remove the setting to install others'),
  model_refused_before: permanent(
    'this bundle failed on this device before; find the cause, then install it with clear_failed',
  ),
  model_no_previous: permanent('there is no previous model to return to'),
  model_no_repository: permanent('set model.repository and model.trustRoot'),
  model_candidate_failed: permanent('the new model failed on live frames; the previous model keeps running'),
  model_shadow_short: permanent(
    'too few live frames arrived to compare the models; check the first observations of the new model',
  ),
  model_install_interrupted: transient(
    'the agent ended repeatedly during the install; check power and memory, then install the model again',
  ),
  model_probation_failed: permanent('the new model failed in use; the previous model runs again'),
  model_out_of_memory: permanent('the model needs more memory than the device has free'),
  model_space: transient('free space on the disk of the state directory'),
  model_too_large: permanent('the bundle is larger than this device accepts'),
  model_transfer_failed: transient(
    'check that the repository, or the tool that sends the blocks, can be reached',
  ),
  model_transfer_changed: transient('the file changed during the download; the download starts again'),
  model_fetch_crashed: transient('the download process crashed or hung; the log has details'),
  model_archive_refused: permanent(
    'the archive has links, paths that lead outside or too much data; pack it with `swellsight model pack`',
  ),
  model_trust_root: permanent('the TUF root is missing, damaged or not signed by the pinned root'),
  model_trust_signature: permanent(
    'there are fewer valid signatures than the threshold; keys may be revoked',
  ),
  model_trust_expired: permanent(
    'the TUF metadata have expired; sign a new timestamp with `swellsight repo publish`',
  ),
  model_trust_rollback: permanent('the repository has older TUF metadata than before'),
  model_trust_mismatch: permanent('the TUF metadata do not match each other, or were changed'),
  model_trust_target: permanent('the repository does not have this version'),
  repo_missing: permanent(
    'create the repository with `swellsight repo init`, and name the directory of its keys with --keys',
  ),
  repo_exists: permanent('name an empty directory, or use the repository that exists there'),
  repo_damaged: permanent(
    'the directory differs from its last signed state; restore a copy, then run `swellsight repo verify`',
  ),
  repo_busy: transient(
    'wait for the other writer; remove .lock only if the machine of that writer no longer exists',
  ),
  repo_keys: permanent('provide the missing keys (--keys, --root-keys) and the passphrase'),
  repo_version_taken: permanent('a version can be published only once; give the new model a new version'),
  model_golden_mismatch: permanent('the model does not reproduce its golden outputs on this device'),
  update_unavailable: permanent(
    'install the agent with scripts/install.sh; containers and checkouts have no updater',
  ),
  update_no_repository: permanent('set update.repository and update.trustRoot'),
  update_no_answer: transient('check `systemctl status swellsight-update.path swellsight-update.service`'),
  update_busy: transient('wait until the current update is confirmed or has returned'),
  update_request_invalid: permanent('the request of the agent is damaged; send the command again'),
  update_platform: permanent('install the archive for the architecture and the system of this device'),
  update_space: transient('free space and inodes on the disk of /opt/swellsight and /var/lib'),
  update_read_only: transient(
    '/opt/swellsight is read-only; make it writable (on Raspberry Pi OS: switch off the overlay file system)',
  ),
  update_archive_refused: permanent(
    'the archive differs from its release.json; build it again with `npm run package`',
  ),
  update_downgrade: permanent(
    'an install only goes to a newer version; return with `swellsight agent rollback`',
  ),
  update_banned: permanent(
    'this version failed on this device; publish a corrected version with a new number',
  ),
  update_schema: permanent('the version is too old for the database of this device; install a newer one'),
  update_preflight_failed: permanent(
    'the new version does not work on this device; the message names the check',
  ),
  update_crash_loop: permanent(
    'the new version ended three times during its trial; read its log, then publish a corrected version',
  ),
  update_deadline: permanent('the new version was not confirmed in time; see which criterion was missing'),
  update_rejected: permanent('the new version did not meet the criteria of its trial'),
  update_interrupted: transient(
    'the update was interrupted repeatedly; check the power supply and the memory, then install again',
  ),
  update_no_previous: permanent('there is no other version on the device to return to'),
  provider_unavailable: permanent('run `swellsight doctor` to see what is missing'),

  store_corrupt: permanent('the damaged database was set aside and a new one was created'),
  store_full: transient('free disk space or reduce store.maxMb'),
  store_failed: transient('check the disk and the permissions of stateDir'),
  store_locked: permanent('another agent uses this stateDir'),

  mqtt_refused: transient('check the user name, the password and the certificate for the broker'),
  mqtt_unreachable: transient('check mqtt.url and the network'),
  mqtt_timeout: transient('the broker does not answer'),
  mqtt_too_large: permanent('the message is larger than the broker or the agent allows'),
  mqtt_publish_refused: permanent('the broker refuses this topic; check its access rules'),
  mqtt_taken_over: transient(
    'two agents use the same site and device, or the same mqtt.clientId; rename or stop one of them',
  ),
  mqtt_certificate_expiring: permanent('renew the certificate; the agent reads new files without a restart'),
  mqtt_credentials_unusable: transient(
    'write the named file completely; the certificate and the key must match',
  ),
  mqtt_busy: transient('the broker refuses messages temporarily'),
  mqtt_port_taken: permanent(
    'another broker uses the port; connect to it with mqtt.url, or set mqtt.embedded.port',
  ),
  command_timeout: transient('the command took too long and was aborted'),
  command_interrupted: transient(
    'the agent ended before the command finished; send the command again with a new id',
  ),

  calibration_invalid: permanent('the file is not a calibration of this camera and model'),
  observation_unknown: permanent('list ids with `swellsight observations`'),
  seq_unknown: permanent('ask for numbers up to `seq` of the newest record, which `latest` has'),
  capture_busy: transient(
    'wait for the captures on request of this camera; a longer schedule.everyS leaves more time for them',
  ),
  camera_unknown: permanent('use the id of a configured camera'),
  http_listen: permanent('free the port, or set another one in http.port'),
  request_invalid: permanent('correct the request as the message says'),
  request_unauthorized: permanent('send `Authorization: Bearer …` with http.token'),
  request_host_refused: permanent(
    'add the name that clients or a proxy use to http.allowedHosts, or use http://127.0.0.1:8080',
  ),
  request_origin_refused: permanent('add the origin of the page to http.cors'),
  request_not_found: permanent('`GET /` lists the available paths'),
  request_method: permanent('the `Allow` header of the answer lists the methods'),
  request_too_large: permanent('send a smaller request'),
  request_media_type: permanent('send JSON as `application/json`, images as `multipart/form-data`'),
  request_aborted: transient('the client closed the connection before the answer'),
  request_timeout: transient('send the whole request without pauses'),
  request_too_many: transient('send fewer requests, or increase http.rateLimit'),
  request_overload: transient('close unused connections and try again later'),
  request_stopping: transient('the agent is stopping or restarting; try again later'),
  request_streams_full: transient('the limit of event streams is reached; end one, or try again later'),
  label_refused: permanent('only a measured or uncalibrated observation can have a label'),
} as const satisfies Record<string, { retryable: boolean; hint: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface AgentErrorOptions {
  /** Values that help to find the cause. No secrets, no image bytes. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** The remedy of this case, where that of the code is too general. No secrets. */
  readonly hint?: string;
}

/**
 * A failure with a stable code, which determines `retryable` and the usual `hint`. Addresses in its message and context are
 * reduced to scheme, host and port, because both may reach the log, clients and brokers.
 */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: ErrorCode;
  readonly context: Readonly<Record<string, unknown>>;
  readonly #hint: string | null;

  constructor(code: ErrorCode, message: string, options: AgentErrorOptions = {}) {
    super(redactAddresses(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.context = mapTexts(options.context ?? {}, redactAddresses) as AgentError['context'];
    this.#hint = options.hint ?? null;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  /** What an operator can do about the failure. */
  get hint(): string {
    return this.#hint ?? ERROR_CODES[this.code].hint;
  }

  /** True when this failure has a remedy of its own. */
  get hasOwnHint(): boolean {
    return this.#hint !== null;
  }
}

/**
 * Returns an `AgentError` as it is; wraps any other thrown value in one: a deadline in `command_timeout`, everything else
 * in `internal`. When a clean-up failed after a first failure (`SuppressedError`), returns the first one, with the messages
 * of the clean-up in `context.cleanup`.
 */
export function asAgentError(thrown: unknown): AgentError {
  if (thrown instanceof AgentError) return thrown;
  if (thrown instanceof SuppressedError) return firstOf(thrown);
  if (isTimeout(thrown))
    return new AgentError('command_timeout', 'the work did not end before its deadline', { cause: thrown });
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AgentError('internal', message, { cause: thrown });
}

/** The oldest first. */
const messagesOf = (thrown: unknown): string[] =>
  thrown instanceof SuppressedError
    ? [...messagesOf(thrown.suppressed), ...messagesOf(thrown.error)]
    : [asAgentError(thrown).message];

function firstOf({ suppressed, error: later }: SuppressedError): AgentError {
  const { code, message, hint, context, cause, stack } = asAgentError(suppressed);
  const before = Array.isArray(context['cleanup']) ? (context['cleanup'] as readonly string[]) : [];
  const cleanup = [...before, ...messagesOf(later)];
  const first = new AgentError(code, message, { context: { ...context, cleanup }, cause, hint });
  if (stack !== undefined) first.stack = stack;
  return first;
}

/** True for the reason of a signal whose deadline passed. */
export function isTimeout(thrown: unknown): boolean {
  const first = firstFailure(thrown);
  return first instanceof Error && first.name === 'TimeoutError';
}

/**
 * True for the error of an aborted wait, request or process. It does not tell whose signal fired: a request may have a
 * deadline of its own. Code that has to stop when its signal fires tests `signal.aborted`.
 */
export function isAbort(thrown: unknown): boolean {
  const first = firstFailure(thrown);
  return isTimeout(first) || (first instanceof Error && first.name === 'AbortError');
}
