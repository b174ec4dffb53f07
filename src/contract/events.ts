import { ERROR_CODES } from '../base/errors.ts';
import { EVENT_CODES, type CodeText } from './codes.ts';
import { REASONS } from './observation.ts';

const NOTHING_TO_DO = 'nothing to do';
const BY_CODE = 'see the remedy of the code';

/** All event types. Changes within v1 are additive. A test compares this list with the code. */
export const EVENT_TYPES = {
  agent_update_committed: {
    meaning: 'A version of the agent has passed its trial. Context: update_id, version, digest, action.',
    remedy: NOTHING_TO_DO,
  },
  agent_update_failed: {
    meaning:
      'An update of the agent failed; the version that ran before still runs. The code is the reason. Context: update_id, version, digest, action, phase.',
    remedy: BY_CODE,
  },
  agent_update_returned: {
    meaning:
      'A version of the agent was started and failed its trial; the former version runs again. The code is the reason. Context: update_id, version, digest, action, phase.',
    remedy: BY_CODE,
  },
  agent_update_started: {
    meaning: 'An update of the agent started. Context: update_id, version, action, automatic.',
    remedy: NOTHING_TO_DO,
  },
  camera_state: {
    meaning:
      'The state of a camera changed. The code is the reason, or the new state. Context: camera, state, before, reason.',
    remedy: BY_CODE,
  },
  camera_view: {
    meaning:
      'A camera was moved away from its labelled views (code `view_changed`), or shows one of them again (`view_known`). Context: camera, labels_kept.',
    remedy: BY_CODE,
  },
  capture_slowdown: {
    meaning:
      'Heat or low power began or ended to make cameras observe less often. The code is `heat`, `low_power` or `ended`. Context: factor, reason.',
    remedy: BY_CODE,
  },
  clock_step: {
    meaning:
      'The wall clock was stepped. Later steps within ten minutes are reported together. Context: delta_ms, steps, largest_ms, synced, offset_ms.',
    remedy: 'check the time source if this happens often',
  },
  command_refused: {
    meaning:
      'Commands were not executed because they were retained, expired, or could not be dated; or some commands got no response because there were too many. Context: command, id of the newest, count.',
    remedy: BY_CODE,
  },
  config_changed: {
    meaning:
      'A change of the configuration was confirmed (context: trial, keys), the changed local configuration was read again (context: keys, restart), or remote settings were removed on the device (context: keys).',
    remedy: NOTHING_TO_DO,
  },
  config_overlay_dropped: {
    meaning:
      'The settings of remote commands are not usable and were set aside (context: file, reason), or the local configuration does not allow those of some cameras, which are not in force (context: cameras, each with id and reason).',
    remedy: 'correct the local configuration, or send the settings again',
  },
  config_refused: {
    meaning:
      'The local configuration has changed and cannot be used; the former one stays in force. Context: failure, keys.',
    remedy: ERROR_CODES.config_invalid.hint,
  },
  config_undone: {
    meaning: 'A change of the configuration was undone. Context: trial, reason, keys.',
    remedy: BY_CODE,
  },
  history_deleted: {
    meaning:
      'The disk is full: the oldest records and events were deleted to make room for new ones. Context: rows, from, to.',
    remedy: ERROR_CODES.store_full.hint,
  },
  model_calibration_lost: {
    meaning:
      'With the new model, a camera has no site calibration until new images are labelled. Context: update_id, name, version, camera, labels.',
    remedy: 'label observations of this camera, or return to the previous model',
  },
  model_fallback: {
    meaning: 'The active model did not start; another one is in use. The code is the reason.',
    remedy: BY_CODE,
  },
  model_install_committed: {
    meaning: 'A new model has passed its probation. Context: update_id, name, version, digest.',
    remedy: NOTHING_TO_DO,
  },
  model_install_failed: {
    meaning:
      'An install failed; the previous model stays active. The code is the reason. Context: update_id, name, version, digest, phase.',
    remedy: BY_CODE,
  },
  model_install_rolled_back: {
    meaning:
      'A new model was activated and rolled back; the previous model is active again. The code is the reason. Context: update_id, name, version, digest, phase.',
    remedy: BY_CODE,
  },
  model_install_started: {
    meaning: 'An install started. Context: update_id, name, version, digest.',
    remedy: NOTHING_TO_DO,
  },
  model_rollback: {
    meaning: 'An operator activated the previous model. Context: name, version, digest, from.',
    remedy: NOTHING_TO_DO,
  },
  model_slots_damaged: {
    meaning:
      'The file with the installed models was damaged and set aside; the shipped model is active. Context: file, aside.',
    remedy: ERROR_CODES.model_slots_damaged.hint,
  },
  mqtt_broker_limited: {
    meaning: 'The broker has not all features; the agent does without them. Context: broker, limits.',
    remedy: 'see docs/brokers.md for what is lost, or raise these limits of the broker',
  },
  mqtt_certificate_expiring: {
    meaning:
      'A certificate of the connection expires soon or has expired. Context: whose, expires_at, fingerprint.',
    remedy: ERROR_CODES.mqtt_certificate_expiring.hint,
  },
  mqtt_credentials_unusable: {
    meaning: 'A secret or certificate file of the connection is not usable.',
    remedy: ERROR_CODES.mqtt_credentials_unusable.hint,
  },
  mqtt_moved: {
    meaning:
      'The broker refers its clients to another server; the agent does not follow. Context: broker, server_reference.',
    remedy: 'set mqtt.url to the address that the operator of the broker names',
  },
  mqtt_refused: {
    meaning: 'The broker refuses the credentials, or its certificate is not trusted.',
    remedy: ERROR_CODES.mqtt_refused.hint,
  },
  mqtt_session_forgotten: {
    meaning:
      'A message for this device was too large: the session was reset, and waiting commands are lost. Context: broker.',
    remedy: 'send smaller messages on the topics of the device, and the lost commands again',
  },
  mqtt_state_left_out: {
    meaning:
      'The connection was lost each time a retained state was published; the agent no longer publishes this state. Context: topic, size_bytes.',
    remedy: 'raise the size limit of the broker, and check its access rules',
  },
  mqtt_subscribe_refused: {
    meaning: 'The broker refuses the subscription to commands.',
    remedy: 'change the access rules of the broker (docs/mqtt.md, "Access rules")',
  },
  mqtt_taken_over: {
    meaning: 'Another client connected with the client id of this device. Context: client_id.',
    remedy: ERROR_CODES.mqtt_taken_over.hint,
  },
  no_progress: {
    meaning:
      'A part of the agent makes no progress, so the watchdog of systemd restarts the service. Context: parts (main_loop, vision, scheduler).',
    remedy: 'see docs/service.md, "Watchdog"; report it if it happens again',
  },
  outbox_dropped: {
    meaning: 'Unsent records were dropped because the outbox is full. Context: dropped, dropped_total.',
    remedy: 'restore the connection to the broker, or raise the limits of store.outbox',
  },
  outbox_rejected: {
    meaning:
      'The broker rejected a message; it was set aside. Context: topic, stream, seq, reason, size_bytes.',
    remedy: 'check the access rules and the size limits of the broker',
  },
  provider_demoted: {
    meaning: 'The execution provider failed; a slower one is in use. Context: from, to.',
    remedy: 'run `swellsight doctor` to see the providers',
  },
  records_unstored: {
    meaning:
      'Some records could not be stored: they have no number and were not published. Context: records.',
    remedy: BY_CODE,
  },
  service_stopped: {
    meaning:
      'The service manager reports that the last run did not end by a clean stop. The code is $SERVICE_RESULT of systemd. Context: at, service_result, exit_code, exit_status.',
    remedy: BY_CODE,
  },
  store_id_changed: {
    meaning:
      'The state directory was restored, copied or moved, so that the records have a new store_id. The code is the reason. Context: store_id, before, reason.',
    remedy: BY_CODE,
  },
  store_recovered: {
    meaning:
      'The database was damaged and set aside; the agent started a new one. Context: reason, quarantined, records_lost_at_most, records_kept, labels_kept.',
    remedy: ERROR_CODES.store_corrupt.hint,
  },
  times_mended: {
    meaning:
      'Times of records and events from before the clock was set were corrected, or marked as uncertain. Context: corrected, uncertain.',
    remedy: BY_CODE,
  },
  vision_exited: {
    meaning: 'The vision process exited and is restarted. The code is the reason.',
    remedy: BY_CODE,
  },
  vision_recycled: {
    meaning: 'The vision process exceeded its memory limit and was replaced. Context: rss_mb, limit_mb.',
    remedy: 'raise inference.maxRssMb if this happens often',
  },
  vision_start_failed: {
    meaning: 'The vision process does not start. The code is the reason.',
    remedy: BY_CODE,
  },
} as const satisfies Record<string, CodeText>;

/** `code` of an event: its type, an error code, a reason of records, or one of `EVENT_CODES`. */
export const EVENT_CODE_NAMES: readonly string[] = [
  ...new Set([
    ...Object.keys(EVENT_TYPES),
    ...Object.keys(EVENT_CODES),
    ...REASONS,
    ...Object.keys(ERROR_CODES),
  ]),
];
