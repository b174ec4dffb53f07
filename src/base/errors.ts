/** The codes of all failures that a part of the agent reports. docs/errors.md is generated from this table. */
export const ERROR_CODES = {
  config_invalid: {
    retryable: false,
    hint: 'run `swellsight check-config` and correct the keys that it names',
  },
  config_locked: { retryable: false, hint: 'set it in the configuration file of the device' },
  config_busy: { retryable: true, hint: 'wait until the pending change is confirmed or undone' },
  config_trial_unknown: {
    retryable: false,
    hint: 'the change was undone or is already confirmed; read the present state with config.get',
  },
  usage: { retryable: false, hint: 'see `swellsight --help`' },
  agent_unreachable: {
    retryable: true,
    hint: 'check that the agent runs and that --url (or http.host and http.port) is right',
  },
  internal: { retryable: false, hint: 'report it together with the log lines around it' },

  camera_auth: { retryable: true, hint: 'check the user name and the password of the camera' },
  camera_unreachable: { retryable: true, hint: 'check the address, the cable and the power of the camera' },
  camera_timeout: {
    retryable: true,
    hint: 'the camera answers too slowly; increase timeoutS or reduce its resolution',
  },
  camera_codec: { retryable: true, hint: 'the stream cannot be decoded; set the camera to H.264 or MJPEG' },
  camera_no_frame: { retryable: true, hint: 'the camera is connected but sends no image' },
  camera_ended: { retryable: true, hint: 'the stream ended' },
  camera_command: { retryable: true, hint: 'run the capture command by hand and read its output' },
  camera_program_missing: { retryable: true, hint: 'install the named program (ffmpeg for streams)' },

  image_empty: { retryable: false, hint: 'the file has no bytes' },
  image_unsupported: { retryable: false, hint: 'send JPEG, PNG or WebP' },
  image_corrupt: { retryable: false, hint: 'the image is truncated or damaged' },
  image_too_large: { retryable: false, hint: 'send a smaller image' },
  image_rejected: {
    retryable: false,
    hint: 'the image quality does not allow a measurement; without `strict` the answer shows the quality signals',
  },

  vision_crashed: { retryable: true, hint: 'the vision process crashed; the agent starts it again' },
  vision_timeout: { retryable: true, hint: 'increase inference.timeoutS or use a smaller model' },
  vision_busy: { retryable: true, hint: 'the queue is full; try again later' },
  vision_closed: { retryable: true, hint: 'the vision process is stopping' },
  vision_start_failed: {
    retryable: true,
    hint: 'the model could not be opened; see the event for the reason',
  },
  vision_output_invalid: {
    retryable: false,
    hint: 'the model output has NaN or a wrong shape; install another version',
  },

  model_not_found: { retryable: false, hint: 'check model.active and the directory models/' },
  model_manifest_invalid: {
    retryable: false,
    hint: 'correct model.json; `swellsight model inspect DIR` lists the faults',
  },
  model_bundle_refused: {
    retryable: false,
    hint: 'the bundle contains links, unlisted files or references to files outside; pack it again',
  },
  model_unsigned: { retryable: false, hint: 'install a signed model, or set model.allowUnsigned' },
  model_digest_mismatch: { retryable: false, hint: 'the bundle is damaged or was changed; install it again' },
  model_requires: { retryable: false, hint: 'the model needs another agent version, provider or hardware' },
  model_slots_damaged: {
    retryable: false,
    hint: 'the damaged file was set aside and the factory model runs; install the model again',
  },
  model_install_busy: { retryable: true, hint: 'wait for the current install, or abort it' },
  model_install_aborted: { retryable: false, hint: 'an operator aborted the install' },
  model_install_none: { retryable: false, hint: 'there is no current install' },
  model_pinned: { retryable: false, hint: 'model.active pins a model; remove the setting to install others' },
  model_refused_before: {
    retryable: false,
    hint: 'this bundle failed on this device before; find the cause, then install it with clear_failed',
  },
  model_no_previous: { retryable: false, hint: 'there is no previous model to return to' },
  model_no_repository: { retryable: false, hint: 'set model.repository and model.trustRoot' },
  model_candidate_failed: {
    retryable: false,
    hint: 'the new model failed on live frames; the previous model keeps running',
  },
  model_shadow_short: {
    retryable: false,
    hint: 'too few live frames arrived to compare the models; check the first observations of the new model',
  },
  model_install_interrupted: {
    retryable: true,
    hint: 'the agent ended repeatedly during the install; check power and memory, then install the model again',
  },
  model_probation_failed: {
    retryable: false,
    hint: 'the new model failed in use; the previous model runs again',
  },
  model_out_of_memory: { retryable: false, hint: 'the model needs more memory than the device has free' },
  model_space: { retryable: true, hint: 'free space on the disk of the state directory' },
  model_too_large: { retryable: false, hint: 'the bundle is larger than this device accepts' },
  model_transfer_failed: {
    retryable: true,
    hint: 'check that the repository, or the tool that sends the blocks, can be reached',
  },
  model_transfer_changed: {
    retryable: true,
    hint: 'the file changed during the download; the download starts again',
  },
  model_fetch_crashed: {
    retryable: true,
    hint: 'the download process crashed or hung; the log has details',
  },
  model_archive_refused: {
    retryable: false,
    hint: 'the archive has links, paths that lead outside or too much data; pack it with `swellsight model pack`',
  },
  model_trust_root: {
    retryable: false,
    hint: 'the TUF root is missing, damaged or not signed by the pinned root',
  },
  model_trust_signature: {
    retryable: false,
    hint: 'there are fewer valid signatures than the threshold; keys may be revoked',
  },
  model_trust_expired: {
    retryable: false,
    hint: 'the TUF metadata have expired; sign a new timestamp with `swellsight repo publish`',
  },
  model_trust_rollback: { retryable: false, hint: 'the repository has older TUF metadata than before' },
  model_trust_mismatch: {
    retryable: false,
    hint: 'the TUF metadata do not match each other, or were changed',
  },
  model_trust_target: { retryable: false, hint: 'the repository does not have this model and version' },
  repo_missing: {
    retryable: false,
    hint: 'create the repository with `swellsight repo init`, and name the directory of its keys with --keys',
  },
  repo_exists: { retryable: false, hint: 'name an empty directory, or use the repository that exists there' },
  repo_damaged: {
    retryable: false,
    hint: 'the directory differs from its last signed state; restore a copy, then run `swellsight repo verify`',
  },
  repo_busy: {
    retryable: true,
    hint: 'wait for the other writer; remove .lock only if the machine of that writer no longer exists',
  },
  repo_keys: { retryable: false, hint: 'provide the missing keys (--keys, --root-keys) and the passphrase' },
  repo_version_taken: {
    retryable: false,
    hint: 'a version can be published only once; give the new model a new version',
  },
  model_golden_mismatch: {
    retryable: false,
    hint: 'the model does not reproduce its golden outputs on this device',
  },
  provider_unavailable: { retryable: false, hint: 'run `swellsight doctor` to see what is missing' },

  store_corrupt: { retryable: false, hint: 'the damaged database was set aside and a new one was created' },
  store_full: { retryable: true, hint: 'free disk space or reduce store.maxMb' },
  store_failed: { retryable: true, hint: 'check the disk and the permissions of stateDir' },
  store_locked: { retryable: false, hint: 'another agent uses this stateDir' },

  mqtt_refused: {
    retryable: true,
    hint: 'check the user name, the password and the certificate for the broker',
  },
  mqtt_unreachable: { retryable: true, hint: 'check mqtt.url and the network' },
  mqtt_timeout: { retryable: true, hint: 'the broker does not answer' },
  mqtt_too_large: { retryable: false, hint: 'the message is larger than the broker or the agent allows' },
  mqtt_publish_refused: { retryable: false, hint: 'the broker refuses this topic; check its access rules' },
  mqtt_taken_over: {
    retryable: true,
    hint: 'two agents use the same site and device, or the same mqtt.clientId; rename or stop one of them',
  },
  mqtt_certificate_expiring: {
    retryable: false,
    hint: 'renew the certificate; the agent reads new files without a restart',
  },
  mqtt_credentials_unusable: {
    retryable: true,
    hint: 'write the named file completely; the certificate and the key must match',
  },
  mqtt_busy: { retryable: true, hint: 'the broker refuses messages temporarily' },
  mqtt_port_taken: {
    retryable: false,
    hint: 'another broker uses the port; connect to it with mqtt.url, or set mqtt.embedded.port',
  },
  command_timeout: { retryable: true, hint: 'the command took too long and was aborted' },
  command_interrupted: {
    retryable: true,
    hint: 'the agent ended before the command finished; send the command again with a new id',
  },

  calibration_invalid: { retryable: false, hint: 'the file is not a calibration of this camera and model' },
  observation_unknown: { retryable: false, hint: 'list ids with `swellsight observations`' },
  camera_unknown: { retryable: false, hint: 'use the id of a configured camera' },
  http_listen: { retryable: false, hint: 'free the port, or set another one in http.port' },
  request_invalid: { retryable: false, hint: 'correct the request as the message says' },
  request_unauthorized: { retryable: false, hint: 'send `Authorization: Bearer …` with http.token' },
  request_host_refused: {
    retryable: false,
    hint: 'use an address on which the agent listens, such as http://127.0.0.1:8080',
  },
  request_origin_refused: { retryable: false, hint: 'add the origin of the page to http.cors' },
  request_not_found: { retryable: false, hint: '`GET /` lists the available paths' },
  request_method: { retryable: false, hint: 'the `Allow` header of the answer lists the methods' },
  request_too_large: { retryable: false, hint: 'send a smaller request' },
  request_media_type: {
    retryable: false,
    hint: 'send JSON as `application/json`, images as `multipart/form-data`',
  },
  request_aborted: { retryable: true, hint: 'the client closed the connection before the answer' },
  request_timeout: { retryable: true, hint: 'send the whole request without pauses' },
  request_too_many: { retryable: true, hint: 'send fewer requests, or increase http.rateLimit' },
  request_overload: {
    retryable: true,
    hint: 'close unused connections and try again later',
  },
  request_stopping: { retryable: true, hint: 'the agent is stopping or restarting; try again later' },
  request_streams_full: {
    retryable: true,
    hint: 'the limit of event streams is reached; end one, or try again later',
  },
  label_refused: { retryable: false, hint: 'only a measured or uncalibrated observation can have a label' },
} as const satisfies Record<string, { retryable: boolean; hint: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface AgentErrorOptions {
  /** Values that help to find the cause. No secrets, no image bytes. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A failure with a stable code, which determines `retryable` and `hint`. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: ErrorCode;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AgentErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.context = options.context ?? {};
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  /** What an operator can do about the failure. */
  get hint(): string {
    return ERROR_CODES[this.code].hint;
  }
}

/** Returns an `AgentError` as it is; wraps any other thrown value in one with code `internal`. */
export function asAgentError(thrown: unknown): AgentError {
  if (thrown instanceof AgentError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AgentError('internal', message, { cause: thrown });
}

/** True for the error of an aborted wait, request or process. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'TimeoutError');
}
