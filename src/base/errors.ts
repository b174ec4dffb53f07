/**
 * Every failure that leaves a part of the agent is an `AgentError` with one of these codes.
 * `docs/errors.md` lists the same codes; a test holds the two equal.
 */
export const ERROR_CODES = {
  config_invalid: { retryable: false, hint: 'run `swellsight check-config` and mend the keys that it names' },
  config_locked: { retryable: false, hint: 'set it in the configuration file of the device' },
  config_busy: { retryable: true, hint: 'wait until the change under way is confirmed or undone' },
  config_trial_unknown: {
    retryable: false,
    hint: 'the change was undone or is confirmed already; ask for it with config.get',
  },
  usage: { retryable: false, hint: 'see `swellsight --help`' },
  agent_unreachable: {
    retryable: true,
    hint: 'is the agent running, and is --url (or http.host and http.port) right?',
  },
  internal: { retryable: false, hint: 'report it with the log around it' },

  camera_auth: { retryable: true, hint: 'check user name and password of the camera' },
  camera_unreachable: { retryable: true, hint: 'check the address, the cable and that the camera has power' },
  camera_timeout: {
    retryable: true,
    hint: 'the camera answers too slowly; raise timeoutS or lower its resolution',
  },
  camera_codec: { retryable: true, hint: 'the stream cannot be decoded; set the camera to H.264 or MJPEG' },
  camera_no_frame: { retryable: true, hint: 'the camera is connected but sends no picture' },
  camera_ended: { retryable: true, hint: 'the stream ended' },
  camera_command: { retryable: true, hint: 'run the capture command by hand and read what it prints' },
  camera_program_missing: { retryable: true, hint: 'install the named program (ffmpeg for streams)' },

  image_empty: { retryable: false, hint: 'the file has no bytes' },
  image_unsupported: { retryable: false, hint: 'send JPEG, PNG or WebP' },
  image_corrupt: { retryable: false, hint: 'the image is truncated or damaged' },
  image_too_large: { retryable: false, hint: 'send a smaller image' },
  image_rejected: {
    retryable: false,
    hint: 'its quality does not allow a reading; without strict the answer shows the signals',
  },

  vision_crashed: { retryable: true, hint: 'the vision process ended by itself; it is started again' },
  vision_timeout: { retryable: true, hint: 'raise inference.timeoutS or use a smaller model' },
  vision_busy: { retryable: true, hint: 'the queue is full; try again later' },
  vision_closed: { retryable: true, hint: 'the vision process is stopping' },
  vision_start_failed: {
    retryable: true,
    hint: 'the model could not be opened; see the event for the reason',
  },
  vision_output_invalid: {
    retryable: false,
    hint: 'the model gave NaN or a wrong shape; install another version',
  },

  model_not_found: { retryable: false, hint: 'check model.active and the folder models/' },
  model_manifest_invalid: {
    retryable: false,
    hint: 'mend model.json; `swellsight model inspect DIR` names the faults',
  },
  model_bundle_refused: {
    retryable: false,
    hint: 'the bundle holds links, stray files or references to the outside; pack it anew',
  },
  model_unsigned: { retryable: false, hint: 'install a signed model, or set model.allowUnsigned' },
  model_digest_mismatch: { retryable: false, hint: 'the bundle was changed or damaged; install it again' },
  model_requires: { retryable: false, hint: 'this model needs another agent version, provider or hardware' },
  model_slots_damaged: {
    retryable: false,
    hint: 'the file was set aside and the factory model serves: install the model again',
  },
  model_install_busy: { retryable: true, hint: 'wait for the install in hand, or abort it' },
  model_install_aborted: { retryable: false, hint: 'an operator stopped the install' },
  model_install_none: { retryable: false, hint: 'no install is in hand' },
  model_pinned: { retryable: false, hint: 'model.active names a model; unset it to install others' },
  model_refused_before: {
    retryable: false,
    hint: 'this bundle failed here before; install it with clear_failed when you know why',
  },
  model_no_previous: { retryable: false, hint: 'there is no former model to return to' },
  model_no_repository: { retryable: false, hint: 'set model.repository and model.trustRoot' },
  model_candidate_failed: {
    retryable: false,
    hint: 'the new model failed on live frames; the former one serves',
  },
  model_shadow_short: {
    retryable: false,
    hint: 'too few live frames came to compare the new model on; look at its first observations',
  },
  model_install_interrupted: {
    retryable: true,
    hint: 'the agent ended again and again in the midst of it: look at power and memory, then install it again',
  },
  model_probation_failed: {
    retryable: false,
    hint: 'the new model failed at work; the former one serves again',
  },
  model_out_of_memory: { retryable: false, hint: 'the model takes more memory than this device can give' },
  model_space: { retryable: true, hint: 'free space on the disk of the state folder' },
  model_too_large: { retryable: false, hint: 'the bundle is larger than this device takes' },
  model_transfer_failed: {
    retryable: true,
    hint: 'the repository or the sender of blocks cannot be reached',
  },
  model_transfer_changed: {
    retryable: true,
    hint: 'the bytes changed while they were fetched; they are fetched anew',
  },
  model_fetch_crashed: {
    retryable: true,
    hint: 'the process that fetches models ended by itself or hung; the log says more',
  },
  model_archive_refused: {
    retryable: false,
    hint: 'the archive holds links, paths to the outside or too much; pack it with `swellsight model pack`',
  },
  model_trust_root: {
    retryable: false,
    hint: 'the root of trust is missing, damaged or not signed by the pinned one',
  },
  model_trust_signature: {
    retryable: false,
    hint: 'not enough valid signatures: keys under the threshold or revoked',
  },
  model_trust_expired: {
    retryable: false,
    hint: 'the metadata are too old: sign a new timestamp with `swellsight repo publish`',
  },
  model_trust_rollback: { retryable: false, hint: 'the repository shows older metadata than it did before' },
  model_trust_mismatch: { retryable: false, hint: 'the metadata do not belong together, or were changed' },
  model_trust_target: { retryable: false, hint: 'the repository has no such model and version' },
  repo_missing: {
    retryable: false,
    hint: 'make the repository with `swellsight repo init`, and name its keys with --keys',
  },
  repo_exists: { retryable: false, hint: 'name an empty folder, or use the repository that is there' },
  repo_damaged: {
    retryable: false,
    hint: 'the folder is not as it was last signed: bring back a copy, then run `swellsight repo verify`',
  },
  repo_busy: { retryable: true, hint: 'wait for the other writer; remove .lock only if its machine is gone' },
  repo_keys: { retryable: false, hint: 'bring the missing keys (--keys, --root-keys) and the passphrase' },
  repo_version_taken: {
    retryable: false,
    hint: 'a version is published once: give the new model a new version',
  },
  model_golden_mismatch: { retryable: false, hint: 'the model does not reproduce its golden outputs here' },
  provider_unavailable: { retryable: false, hint: 'see `swellsight doctor` for what is missing' },

  store_corrupt: { retryable: false, hint: 'the database was set aside and a new one begun' },
  store_full: { retryable: true, hint: 'free disk space or lower store.maxMb' },
  store_failed: { retryable: true, hint: 'check the disk and the permissions of stateDir' },
  store_locked: { retryable: false, hint: 'another agent uses this stateDir' },

  mqtt_refused: { retryable: true, hint: 'check user name, password and certificate for the broker' },
  mqtt_unreachable: { retryable: true, hint: 'check mqtt.url and the network' },
  mqtt_timeout: { retryable: true, hint: 'the broker does not answer' },
  mqtt_too_large: { retryable: false, hint: 'the message is larger than the broker or the agent allows' },
  mqtt_publish_refused: { retryable: false, hint: 'the broker refuses this topic; check its access rules' },
  mqtt_taken_over: {
    retryable: true,
    hint: 'two agents run under one site and device, or one mqtt.clientId: rename or stop one of them',
  },
  mqtt_certificate_expiring: {
    retryable: false,
    hint: 'renew the certificate; new files are taken without a restart',
  },
  mqtt_credentials_unusable: {
    retryable: true,
    hint: 'write the named file whole; certificate and key must belong together',
  },
  mqtt_busy: { retryable: true, hint: 'the broker refuses messages for now' },
  mqtt_port_taken: {
    retryable: false,
    hint: 'another broker listens there: use it with mqtt.url, or set mqtt.embedded.port',
  },
  command_timeout: { retryable: true, hint: 'the command took too long and was given up' },
  command_interrupted: {
    retryable: true,
    hint: 'the agent ended before the command did; send it with a new id',
  },

  calibration_invalid: { retryable: false, hint: 'the file is no calibration of this camera and model' },
  observation_unknown: { retryable: false, hint: 'list ids with `swellsight observations`' },
  camera_unknown: { retryable: false, hint: 'use the id of a configured camera' },
  http_listen: { retryable: false, hint: 'free the port, or set another in http.port' },
  request_invalid: { retryable: false, hint: 'mend the request as the message says' },
  request_unauthorized: { retryable: false, hint: 'send `Authorization: Bearer …` with http.token' },
  request_host_refused: {
    retryable: false,
    hint: 'call the agent by the address that it listens on, such as http://127.0.0.1:8080',
  },
  request_origin_refused: { retryable: false, hint: 'add the page to http.cors' },
  request_not_found: { retryable: false, hint: '`GET /` lists what there is' },
  request_method: { retryable: false, hint: 'the answer names the methods in `Allow`' },
  request_too_large: { retryable: false, hint: 'send less' },
  request_media_type: {
    retryable: false,
    hint: 'send JSON as `application/json`, images as `multipart/form-data`',
  },
  request_aborted: { retryable: true, hint: 'the client went away before its answer' },
  request_timeout: { retryable: true, hint: 'send the whole request at once' },
  request_too_many: { retryable: true, hint: 'ask less often, or raise http.rateLimit' },
  request_overload: {
    retryable: true,
    hint: 'close connections that are not used; come again a little later',
  },
  request_stopping: { retryable: true, hint: 'the agent stops or starts anew; come again a little later' },
  request_streams_full: {
    retryable: true,
    hint: 'as many clients follow the events as may: end one, or try again later',
  },
  label_refused: { retryable: false, hint: 'only a measured or uncalibrated observation can be labelled' },
} as const satisfies Record<string, { retryable: boolean; hint: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface AgentErrorOptions {
  /** Values that help to find the cause. Never secrets, never image bytes. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A failure with a stable code; `retryable` and `hint` follow from the code. */
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

  /** What a person can do about it. */
  get hint(): string {
    return ERROR_CODES[this.code].hint;
  }
}

/** Any thrown value as an `AgentError`: itself if it is one, else `internal` with it as the cause. */
export function asAgentError(thrown: unknown): AgentError {
  if (thrown instanceof AgentError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AgentError('internal', message, { cause: thrown });
}

/** True for the error that an aborted wait, fetch or spawn rejects with. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'TimeoutError');
}
