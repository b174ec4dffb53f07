// Longer than 300 lines because it has the table of all error codes.
import { firstFailure } from './closing.ts';
import { mapTexts, redactAddresses } from './redact.ts';

const transient = (meaning: string, hint: string) => ({ retryable: true, meaning, hint });
const permanent = (meaning: string, hint: string) => ({ retryable: false, meaning, hint });

/**
 * The codes of all failures that a part of the agent reports; `hint` is the remedy. docs/generated/codes.md is generated from
 * this table.
 */
export const ERROR_CODES = {
  config_invalid: permanent(
    'the configuration has a fault',
    'run `swellsight check-config` and correct the keys that it names',
  ),
  config_locked: permanent(
    'remote commands may not change this setting',
    'set it in the configuration file of the device',
  ),
  config_busy: transient(
    'another change of the configuration is on trial',
    'wait until the pending change is confirmed or undone',
  ),
  config_trial_unknown: permanent(
    'this change is not on trial: it was undone or is already confirmed',
    'read the present state with config.get',
  ),
  pose_unusable: permanent(
    'the position of the camera cannot be found from these control points, or the file of a pose is invalid',
    'see docs/geometry.md for the columns and the choice of the points',
  ),
  tide_invalid: permanent(
    'the tide cannot be predicted from these constituents, or the file of a tide station is invalid',
    'see docs/geometry.md for the tide',
  ),
  usage: permanent('the command line has an unknown or a wrong option', 'see the same command with --help'),
  agent_unreachable: transient(
    'the command line cannot connect to the agent',
    'check that the agent runs and that --url (or http.host and http.port) is right',
  ),
  internal: permanent('the agent has a fault of its own', 'report it together with the log lines around it'),

  camera_auth: transient(
    'the camera refuses the user or the password (401, 403)',
    'check the user name and the password of the camera',
  ),
  camera_certificate: permanent(
    'the certificate of the camera is not trusted; nothing was sent to the camera',
    'check the certificate of the camera; pin it with tls.fingerprint256, or name its authority with tls.ca',
  ),
  camera_unreachable: transient(
    'the camera cannot be opened: connection refused, no route, unknown host name, status 404 or 5xx, missing file or device',
    'check the address or the path, the cable and the power of the camera',
  ),
  camera_timeout: transient(
    'no frame came within timeoutS',
    'increase timeoutS of the camera; check the network and the load of the camera',
  ),
  camera_codec: transient(
    'the answer is no image or video that can be decoded, or an image is larger than 32 MiB',
    'check the format of the stream or the image in the settings of the camera',
  ),
  camera_no_frame: transient('the camera is connected, but no frame arrived', 'restart the camera'),
  camera_ended: transient('the stream or the files ended', 'check the camera if this happens often'),
  camera_command: transient(
    'the capture command failed or wrote no image',
    'run the capture command by hand and read its output',
  ),
  camera_program_missing: transient(
    'ffmpeg, ffprobe or the capture command is missing, cannot start or is too old',
    'install the named program (ffmpeg for streams)',
  ),

  image_empty: permanent('the file has no bytes', 'send an image'),
  image_unsupported: permanent('the file is no image of a supported format', 'send JPEG, PNG or WebP'),
  image_corrupt: permanent('the image is truncated or damaged', 'send the complete file again'),
  image_too_large: permanent('the image has too many bytes, pixels or scans', 'send a smaller image'),
  image_rejected: permanent(
    'the image quality does not allow a measurement',
    'send a better image; without `strict` the answer shows the quality signals',
  ),

  vision_crashed: transient(
    'the vision process crashed',
    'wait: the agent starts it again; if it happens often, check the free memory',
  ),
  vision_timeout: transient(
    'the model did not answer within inference.timeoutS',
    'increase inference.timeoutS or use a smaller model',
  ),
  vision_busy: transient('the queue of the vision process is full', 'try again later'),
  vision_closed: transient('the vision process is stopping', 'try again when the agent runs'),
  vision_start_failed: transient('the model could not be opened', 'see the event for the reason'),
  vision_output_invalid: permanent(
    'the output of the model has NaN or a wrong shape',
    'install another version of the model',
  ),

  model_not_found: permanent(
    'there is no such model on the device',
    'check model.active and the directory models/',
  ),
  model_manifest_invalid: permanent(
    'model.json has a fault',
    'correct model.json; `swellsight model inspect DIR` lists the faults',
  ),
  model_bundle_refused: permanent(
    'the bundle contains links, unlisted files or references to files outside',
    'pack the bundle again with `swellsight model pack`',
  ),
  model_unsigned: permanent(
    'the model has no valid signature',
    'install a signed model, or set model.allowUnsigned',
  ),
  model_digest_mismatch: permanent(
    'the bytes of the model are damaged or were changed',
    'install the model again',
  ),
  model_requires: permanent(
    'the model needs another agent version, provider or hardware',
    'install a model for this device, or update the agent',
  ),
  model_slots_damaged: permanent(
    'the file with the installed models was damaged and set aside; the factory model runs',
    'install the model again',
  ),
  model_install_busy: transient('another install is running', 'wait for the current install, or abort it'),
  model_install_aborted: permanent(
    'an operator aborted the install',
    'install the model again if it is still wanted',
  ),
  model_install_none: permanent(
    'there is no current install',
    'nothing to do; `swellsight model list` shows the last install',
  ),
  model_pinned: permanent('model.active pins a model', 'remove the setting model.active to install others'),
  model_refused_before: permanent(
    'this bundle failed on this device before',
    'find the cause, then install it with clear_failed',
  ),
  model_no_previous: permanent('there is no previous model to return to', 'install the wanted version'),
  model_no_repository: permanent(
    'the device has no repository of models',
    'set model.repository and model.trustRoot',
  ),
  model_candidate_failed: permanent(
    'the new model failed on live frames; the previous model keeps running',
    'correct the model and publish it with a new version',
  ),
  model_shadow_short: permanent(
    'too few live frames arrived to compare the models',
    'check the first observations of the new model',
  ),
  model_install_interrupted: transient(
    'the agent ended repeatedly during the install',
    'check power and memory, then install the model again',
  ),
  model_probation_failed: permanent(
    'the new model failed in use; the previous model runs again',
    'correct the model and publish it with a new version',
  ),
  model_out_of_memory: permanent(
    'the model needs more memory than the device has free',
    'install a smaller model',
  ),
  model_space: transient(
    'the disk has too little space for the model',
    'free space on the disk of the state directory',
  ),
  model_too_large: permanent('the bundle is larger than this device accepts', 'install a smaller model'),
  model_transfer_failed: transient(
    'the model could not be downloaded',
    'check that the repository, or the tool that sends the blocks, can be reached',
  ),
  model_transfer_changed: transient(
    'the file changed during the download',
    'wait: the download starts again',
  ),
  model_fetch_crashed: transient('the download process crashed or hung', 'see the log for details'),
  model_archive_refused: permanent(
    'the archive has links, paths that lead outside or too much data',
    'pack it with `swellsight model pack`',
  ),
  model_trust_root: permanent(
    'the TUF root is missing, damaged or not signed by the pinned root',
    'copy the root of the repository to the file of model.trustRoot',
  ),
  model_trust_signature: permanent(
    'there are fewer valid signatures than the threshold; keys may be revoked',
    'sign the repository again with enough valid keys',
  ),
  model_trust_expired: permanent(
    'the TUF metadata have expired',
    'sign a new timestamp with `swellsight repo publish`',
  ),
  model_trust_rollback: permanent(
    'the repository has older TUF metadata than before',
    'restore the newest state of the repository',
  ),
  model_trust_mismatch: permanent(
    'the TUF metadata do not match each other, or were changed',
    'upload the complete repository again',
  ),
  model_trust_target: permanent(
    'the repository does not have this version',
    'publish the version, or install another one',
  ),
  repo_missing: permanent(
    'there is no repository, or its keys are missing',
    'create the repository with `swellsight repo init`, and name the directory of its keys with --keys',
  ),
  repo_exists: permanent(
    'the directory already contains files',
    'name an empty directory, or use the repository that exists there',
  ),
  repo_damaged: permanent(
    'the directory differs from its last signed state',
    'restore a copy, then run `swellsight repo verify`',
  ),
  repo_busy: transient(
    'another process writes to the repository',
    'wait for the other writer; remove .lock only if the machine of that writer no longer exists',
  ),
  repo_keys: permanent(
    'a key or its passphrase is missing or wrong',
    'provide the missing keys (--keys, --root-keys) and the passphrase',
  ),
  repo_version_taken: permanent(
    'this version is already published',
    'give the new model a new version: a version can be published only once',
  ),
  model_golden_mismatch: permanent(
    'the model does not reproduce its golden outputs on this device',
    'use another provider or another version of the model',
  ),
  update_unavailable: permanent(
    'this installation has no updater',
    'install the agent with scripts/install.sh; containers and checkouts have no updater',
  ),
  update_no_repository: permanent(
    'the device has no repository of agent versions',
    'set update.repository and update.trustRoot',
  ),
  update_no_answer: transient(
    'the updater does not answer',
    'check `systemctl status swellsight-update.path swellsight-update.service`',
  ),
  update_busy: transient(
    'another update of the agent is running',
    'wait until the current update is confirmed or has returned',
  ),
  update_request_invalid: permanent(
    'the request of the agent to the updater is damaged',
    'send the command again',
  ),
  update_platform: permanent(
    'the archive is for another architecture or system',
    'install the archive for the architecture and the system of this device',
  ),
  update_space: transient(
    'the disk has too little space or too few inodes',
    'free space and inodes on the disk of /opt/swellsight and /var/lib',
  ),
  update_read_only: transient(
    '/opt/swellsight is read-only',
    'make it writable (on Raspberry Pi OS: switch off the overlay file system)',
  ),
  update_archive_refused: permanent(
    'the archive differs from its release.json',
    'build it again with `npm run package`',
  ),
  update_downgrade: permanent(
    'the version is older than the one that runs',
    'install a newer version; return with `swellsight agent rollback`',
  ),
  update_banned: permanent(
    'this version failed on this device',
    'publish a corrected version with a new number',
  ),
  update_schema: permanent(
    'the version is too old for the database of this device',
    'install a newer version',
  ),
  update_preflight_failed: permanent(
    'the new version does not work on this device',
    'correct what the message names, then install again',
  ),
  update_crash_loop: permanent(
    'the new version ended three times during its trial',
    'read its log, then publish a corrected version',
  ),
  update_deadline: permanent('the new version was not confirmed in time', 'see which criterion was missing'),
  update_rejected: permanent(
    'the new version did not meet the criteria of its trial',
    'see the message for the criterion, then publish a corrected version',
  ),
  update_interrupted: transient(
    'the update was interrupted repeatedly',
    'check the power supply and the memory, then install again',
  ),
  update_no_previous: permanent(
    'there is no other version on the device to return to',
    'install the wanted version',
  ),
  provider_unavailable: permanent(
    'no execution provider can run the model',
    'run `swellsight doctor` to see what is missing',
  ),

  store_corrupt: permanent(
    'the database was damaged; it was set aside and a new one was created',
    'check the disk and the power supply',
  ),
  store_full: transient(
    'the disk is full, or the limit of the database is reached',
    'free disk space or reduce store.maxMb',
  ),
  store_failed: transient(
    'reading from or writing to the disk failed',
    'check the disk and the permissions of stateDir',
  ),
  store_locked: permanent(
    'another agent uses this stateDir',
    'stop the other agent, or set another stateDir',
  ),

  mqtt_refused: transient(
    'the broker refuses the login, or its certificate is not trusted',
    'check the user name, the password and the certificate for the broker',
  ),
  mqtt_unreachable: transient('there is no connection to the broker', 'check mqtt.url and the network'),
  mqtt_timeout: transient('the broker does not answer', 'check the broker and the network'),
  mqtt_too_large: permanent(
    'the message is larger than the broker or the agent allows',
    'raise the size limit of the broker',
  ),
  mqtt_publish_refused: permanent(
    'the broker refuses a message on this topic',
    'check the access rules of the broker',
  ),
  mqtt_taken_over: transient(
    'two agents use the same site and device, or the same mqtt.clientId',
    'rename or stop one of them',
  ),
  mqtt_certificate_expiring: permanent(
    'a certificate of the connection to the broker expires soon or has expired',
    'renew the certificate; the agent reads new files without a restart',
  ),
  mqtt_credentials_unusable: transient(
    'a password, certificate or key file for the broker is not usable',
    'write the named file completely; the certificate and the key must match',
  ),
  mqtt_busy: transient('the broker refuses messages temporarily', 'wait: the agent sends them again'),
  mqtt_port_taken: permanent(
    'the port of the embedded broker is in use',
    'another broker uses the port; connect to it with mqtt.url, or set mqtt.embedded.port',
  ),
  command_timeout: transient(
    'the command took too long and was aborted',
    'send the command again with a new id',
  ),
  command_interrupted: transient(
    'the agent ended before the command finished',
    'check whether it took effect, then send the command again with a new id',
  ),

  calibration_invalid: permanent(
    'the file is not a calibration of this camera and model',
    'export it again from a device with the same camera and model',
  ),
  observation_unknown: permanent(
    'there is no observation with this id',
    'list ids with `swellsight observations`',
  ),
  seq_unknown: permanent(
    'no record of this camera has such a number yet',
    'ask for numbers up to `seq` of the newest record, which `latest` has',
  ),
  capture_busy: transient(
    'too many captures of this camera wait',
    'wait for the captures on request of this camera; a longer schedule.everyS leaves more time for them',
  ),
  sea_state_unavailable: permanent(
    'this camera takes no clips',
    'set seaState of the camera; a camera of kind command cannot take clips',
  ),
  sea_state_busy: transient('a clip of this camera is being taken', 'wait for its end'),
  sea_state_unknown: permanent(
    'this camera has no sea state with this id',
    'list ids with GET /api/v1/cameras/{id}/sea-state',
  ),
  sea_state_picture_missing: permanent(
    'this picture was not kept',
    'the newest clip has pictures; set seaState.keepTimestacks to keep those of later clips too',
  ),
  observation_image_missing: permanent(
    'no image of this observation is kept',
    'list the observations with an image with GET /api/v1/cameras/{id}/frames',
  ),
  camera_unknown: permanent('no camera has this id', 'use the id of a configured camera'),
  http_listen: permanent(
    'the HTTP server cannot use its port',
    'free the port, or set another one in http.port',
  ),
  request_invalid: permanent('the request has a fault', 'correct the request as the message says'),
  request_unauthorized: permanent(
    'the request has no valid token',
    'send `Authorization: Bearer …` with http.token',
  ),
  request_host_refused: permanent(
    'http.allowedHosts does not list the host name of the request',
    'add the name that clients or a proxy use to http.allowedHosts, or use http://127.0.0.1:8080',
  ),
  request_origin_refused: permanent(
    'http.cors does not list the origin of the page',
    'add the origin of the page to http.cors',
  ),
  request_not_found: permanent('there is no such path', '`GET /` lists the available paths'),
  request_method: permanent(
    'the path does not have this method',
    'use a method of the `Allow` header of the answer',
  ),
  request_too_large: permanent('the request or its headers are too large', 'send a smaller request'),
  request_media_type: permanent(
    'the media type of the request is not accepted',
    'send JSON as `application/json`, images as `multipart/form-data`',
  ),
  request_aborted: transient('the client closed the connection before the answer', 'wait for the answer'),
  request_timeout: transient('the request arrived too slowly', 'send the whole request without pauses'),
  request_too_many: transient(
    'the client sent more requests than http.rateLimit',
    'send fewer requests, or increase http.rateLimit',
  ),
  request_overload: transient(
    'too many connections are open',
    'close unused connections and try again later',
  ),
  request_stopping: transient('the agent is stopping or restarting', 'try again later'),
  request_streams_full: transient('the limit of event streams is reached', 'end one, or try again later'),
  label_refused: permanent(
    'this observation cannot have a label',
    'label an observation with the status measured',
  ),
} as const satisfies Record<string, { retryable: boolean; meaning: string; hint: string }>;

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
