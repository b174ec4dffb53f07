// Longer than 300 lines because the codes with their meanings and remedies are one table.
import { ERROR_CODES } from '../base/errors.ts';

/** What a code means, and what a person can do. docs/generated/codes.md is generated from the tables of such texts. */
export interface CodeText {
  readonly meaning: string;
  readonly remedy: string;
}

const text = (meaning: string, remedy: string): CodeText => ({ meaning, remedy });
const NOTHING_TO_DO = 'nothing to do';
const NO_FAULT = 'no fault: the camera is read again at the next slot';
const NO_FAULT_OF_CLIP = 'no fault: the next clip is measured again';
const WARM = 'give the board shade and air; check its fan';
const WEAK_SUPPLY = 'use the power supply that the maker of the board recommends, with a short cable';

/** The code with any text in place of the part in braces: `camera_down:{id}` becomes `camera_down:${string}`. */
type Filled<K> = K extends `${infer Head}{${string}}${infer Tail}` ? `${Head}${string}${Tail}` : K;

/** Reasons of records that are no error codes. */
export const OWN_REASONS = {
  uncalibrated: text(
    'no height: the camera has no site calibration and the model has no head for the height',
    'label some observations of this camera (docs/calibration.md)',
  ),
  calibration_pending: text(
    'no height yet: the calibration is still computed, after a start or with a new model',
    NOTHING_TO_DO,
  ),
  view_changed: text(
    'no height: the view differs from the labelled views, so the calibration does not apply',
    'turn the camera back to its old view, or label observations of the new one',
  ),
  glare: text('the sun or its reflection covers a part of the frame', NO_FAULT),
  dark: text('the frame is too dark', 'limit the schedule to daylight with schedule.sun'),
  blur: text('the frame is not sharp', 'clean the lens; check the focus of the camera'),
  fog: text('fog or rain hides the sea', NO_FAULT),
  obstructed: text('something covers a part of the sea', 'clean the lens; remove what stands before it'),
  damaged: text(
    'the frame has damaged parts',
    'check the network between camera and agent; use transport: tcp for rtsp',
  ),
  frozen: text('the camera sends the same frame again and again', 'restart the camera'),
  no_height_head: text(
    'no height: the model has neither a head for the height nor an embedding for a calibration',
    'install a model with one of them',
  ),
  overlap: text(
    'the previous observation of this camera still ran',
    'make schedule.everyS longer, or the burst shorter',
  ),
  clock_step: text('the clock was stepped over this slot', 'check the time source if this happens often'),
  late: text(
    'the slot passed before the agent could observe: the machine slept, or was too busy',
    'check the load of the machine if this happens often',
  ),
  heat: text('the slot was left out because the board is too hot', WARM),
  low_power: text('the slot was left out because the supply voltage is too low', WEAK_SUPPLY),
  stopping: text('the agent stopped during the observation', NOTHING_TO_DO),
} as const;

/** Reasons of records of clips that observations do not have, or have with another meaning. */
export const SEA_STATE_REASONS = {
  too_short: text(
    'the clip is too short for the longest waves',
    'make seaState.durationS longer; check the camera if its stream ended early',
  ),
  too_few_frames: text(
    'the camera gave too few frames per second for the shortest waves',
    'raise seaState.fps; check the network between camera and agent',
  ),
  gaps: text(
    'too many frames are missing, or no frame came for too long',
    'check the network between camera and agent',
  ),
  repeated: text('the camera shows the same part of a film again and again', 'use a live camera'),
  view_changed: text(
    'the camera moved during the clip',
    'fix the camera; a camera that turns by itself cannot measure a period',
  ),
  no_water: text(
    'nothing in the picture moves as waves do',
    'point the camera at the sea, or set seaState.region or seaState.lines',
  ),
  no_peak: text('no period stands out from the others', NO_FAULT_OF_CLIP),
  incoherent: text(
    'neighbouring parts of the picture do not show the same waves',
    'set seaState.lines over the breaking waves if this happens often',
  ),
  seaward: text(
    'the movement is not towards the shore',
    'set seaState.lines from the sea to the shore; check the order of the frames',
  ),
} as const;

/** Why a clip gives no breaker height. */
export const BREAKER_REASONS = {
  no_geometry: text('the camera has no geometry', 'set geometry of the camera'),
  geometry_unusable: text(
    'a file of the geometry cannot be read, or it is for frames of another shape',
    'run swellsight calibrate-camera again; the log names the file',
  ),
  no_period: text('the clip gives no period', 'see `reasons` of the record'),
  tide_unknown: text('the tide is unknown, and it matters here', 'set geometry.tide, or send tide.set'),
  too_few_breakers: text('too few breaking waves were seen from crest to toe', NO_FAULT_OF_CLIP),
  breakers_too_small: text(
    'the breaking waves are too small in the picture',
    'use a camera that is nearer or has more pixels',
  ),
  view_changed: text(
    'the view is not the one of the geometry',
    'turn the camera back, or calibrate it again',
  ),
} as const;

/** Reasons of the state of a camera that are no reasons of records. */
export const STATE_REASONS = {
  agent_stopped: text(
    'the state of a camera: the agent was stopped, or has changed to another broker',
    'start the agent again, or connect to its broker',
  ),
} as const;

/** Warnings of records. The code of each failed frame of a burst is a warning too. */
export const WARNINGS = {
  partial_burst: text(
    'the burst has fewer frames than burst.frames; the reading is less certain',
    'check the camera if this happens often; another warning names the cause',
  ),
  similar_trains: text(
    'a second wave train has nearly the energy of the first: which of them dominates may be chance',
    'read second_s too',
  ),
  unregistered: text(
    'the pictures have no static part: sway of the camera is not corrected',
    'let some land or the horizon stand in the picture',
  ),
  camera_height_doubtful: text(
    'the speed of the breakers does not fit the height of the camera in its geometry',
    'check geometry of the camera: cameraHeightM, or the pose',
  ),
  frames_rejected: text(
    'the quality gate rejected some frames of the burst',
    'clean the lens if this happens often',
  ),
  'stands_for_{n}_slots': text(
    'this skipped record stands for n slots in a row, for example after the machine slept',
    NOTHING_TO_DO,
  ),
  time_corrected: text(
    'the clock was set after the record was made; its times were corrected',
    'check the time source if this happens often',
  ),
  time_uncertain: text(
    'the clock was never set while the device made the record; its times may be wrong',
    'order such records by seq; give the device a time source',
  ),
} as const;
export type Warning = Filled<keyof typeof WARNINGS>;

/**
 * The codes in `degraded` of a heartbeat. `{id}` is the id of a camera, `{feature}` of docs/brokers.md, `{part}` the part of
 * the record that could not be read, `{whose}` is `device` or `broker`.
 */
export const DEGRADED_CODES = {
  clock_unsynced: text(
    'no time source has set the clock; times may be wrong',
    'give the device a time source: NTP, or a clock with a battery',
  ),
  clock_offset: text(
    'the clock is off by a second or more and is corrected slowly',
    'wait; check the time source if it lasts for hours',
  ),
  link_down: text('no connection to the broker', ERROR_CODES.mqtt_unreachable.hint),
  link_flapping: text('at least five reconnects in the last hour', 'check the network of the device'),
  link_refused: text(
    'the broker refuses the credentials, its certificate is not trusted, or it lacks QoS 1',
    ERROR_CODES.mqtt_refused.hint,
  ),
  link_contested: text(
    'another agent used the identity of this device in the last hour',
    ERROR_CODES.mqtt_taken_over.hint,
  ),
  commands_refused: text(
    'the broker refuses the subscription to commands',
    'change the access rules of the broker (docs/mqtt.md, "Access rules")',
  ),
  'certificate_expiring:{whose}': text(
    'the certificate of the device or the broker expires soon, or has expired',
    ERROR_CODES.mqtt_certificate_expiring.hint,
  ),
  credentials_unusable: text(
    'certificate, key or password files are incomplete; the previous ones are in use, and without them there is no connection',
    ERROR_CODES.mqtt_credentials_unusable.hint,
  ),
  'broker_limits:{feature}': text(
    'the broker does not support this feature; the agent works without it',
    'see docs/brokers.md for what is lost, or raise this limit of the broker',
  ),
  'camera_down:{id}': text(
    'the camera delivers no frames',
    'see `reason` of the state of the camera; `swellsight doctor` names the cause',
  ),
  'camera_frozen:{id}': text('the camera delivers the same frame again and again', OWN_REASONS.frozen.remedy),
  'camera_obstructed:{id}': text('something covers the lens', OWN_REASONS.obstructed.remedy),
  'view_changed:{id}': text(
    'the camera was moved: it gives no heights; its labels are kept for its former position',
    OWN_REASONS.view_changed.remedy,
  ),
  vision_down: text('the vision process is not running', ERROR_CODES.vision_crashed.hint),
  inference_failing: text(
    'at least five failed analyses in the last hour',
    'see the reasons of the failed records; return to the previous model if a new one is the cause',
  ),
  model_missing: text('no model is active', ERROR_CODES.model_not_found.hint),
  unsigned_model: text(
    'the model runs without a valid signature (model.allowUnsigned)',
    'install a signed model',
  ),
  model_expiry_unchecked: text(
    'the clock had never been synchronised when the model was installed: its signatures may have expired',
    'install the model again when the clock is synchronised',
  ),
  outbox_backlog: text(
    'the oldest unsent record is older than 15 minutes',
    'wait while `outbox.depth` falls; otherwise check the connection to the broker',
  ),
  outbox_dropping: text(
    'unsent records were dropped since the last heartbeat',
    'restore the connection to the broker, or raise the limits of store.outbox',
  ),
  store_full: text(
    'the disk is full and nothing can be deleted: records are lost',
    ERROR_CODES.store_full.hint,
  ),
  store_failed: text(
    'writing to the disk fails, or the disk is gone: records are lost',
    ERROR_CODES.store_failed.hint,
  ),
  store_corrupt: text(
    'the database is damaged; the next start sets it aside',
    'restart the agent, and check the disk',
  ),
  disk_low: text(
    'less than 200 MB or 5 % of the disk is free (below 1 GB: less than 20 %)',
    'delete other files, or reduce store.maxMb',
  ),
  disk_worn: text(
    'the eMMC has used 90 % of its life, or warns of its end',
    'replace the storage, and keep a backup until then',
  ),
  writes_high: text(
    'the agent writes more a day than health.maxWrittenMbDay: a card wears out early',
    'observe less often, or raise the limit if the disk allows more writes',
  ),
  state_volatile: text(
    'the state directory is in memory: the next boot loses labels and unsent records',
    'put stateDir on a disk; on Raspberry Pi OS switch off the overlay file system',
  ),
  memory_low: text('less than 64 MB of memory is free', 'stop other programs, or use a smaller model'),
  temperature_high: text('the processor has 80 degrees Celsius or more', WARM),
  throttled: text('the board throttles the processor, or its voltage is too low', `${WARM}; ${WEAK_SUPPLY}`),
  under_voltage: text('the supply voltage of the board is too low', WEAK_SUPPLY),
  hot_surface: text('the case of the board is too hot to touch', WARM),
  over_current: text('over-current events throttled the board within the last hour', WEAK_SUPPLY),
  capture_slowed: text(
    'heat or low power: cameras with an interval schedule observe less often',
    'see the code for heat or voltage beside it',
  ),
  'probe_failed:{part}': text(
    'this part of the heartbeat could not be read',
    'see the log; report it if it stays after a restart',
  ),
} as const;
export type DegradedCode = Filled<keyof typeof DEGRADED_CODES>;

/** `reason` of a receipt with `rejected`. Such a command did not run. */
export const REJECTIONS = {
  busy: text('too many commands run or wait', 'send it again with the same id'),
  stopping: text('the agent is stopping or restarting', 'send it again with the same id'),
  retained: text('the command was published with the retain flag', 'publish commands without it'),
  expired: text(
    '`expires_at` has passed by the clock of the device',
    'send it again with a later `expires_at`',
  ),
  clock_unsynced: text(
    'the command has `expires_at`, and the clock of the device is not set yet',
    'send it again some minutes later, or without `expires_at`',
  ),
  issued_in_future: text(
    '`issued_at` is ahead of the clock of the device: the clock of the sender is wrong',
    'set the clock of the sender',
  ),
  id_used_before: text('another command had this id', 'use a new id for each command'),
  unknown_command: text(
    'this version of the agent has no such command',
    'see `capabilities.commands` of the info of the device; update the agent',
  ),
  'malformed: {fault}': text(
    'the payload is no JSON object of a command',
    'correct the payload (docs/mqtt.md, "Send commands")',
  ),
  'bad_args: {fault}': text('an argument is missing, unknown or wrong', 'correct `args` as the text says'),
  too_large: text('the payload is larger than 64 KiB', 'send less'),
  correlation_too_long: text(
    'the correlation data have more than 1024 bytes',
    'use shorter correlation data',
  ),
} as const;
export type Rejection = Filled<keyof typeof REJECTIONS>;

/** Codes of events that are no event types, error codes or reasons. */
export const EVENT_CODES = {
  starting: text('`camera_state`: the camera has delivered no frame yet', 'wait for the next slot'),
  up: text('`camera_state`: the camera delivers frames again', NOTHING_TO_DO),
  down: text('`camera_state`: the camera delivers no frames', DEGRADED_CODES['camera_down:{id}'].remedy),
  view_known: text('`camera_view`: the camera shows a labelled view again', NOTHING_TO_DO),
  ended: text('`capture_slowdown`: the cameras observe at their intervals again', NOTHING_TO_DO),
  time_corrected: WARNINGS.time_corrected,
  time_uncertain: WARNINGS.time_uncertain,
  command_retained: REJECTIONS.retained,
  command_expired: REJECTIONS.expired,
  command_clock_unsynced: REJECTIONS.clock_unsynced,
  command_issued_in_future: REJECTIONS.issued_in_future,
  command_unanswered: text(
    'too many commands arrived: the device did not answer all of them',
    'send fewer than ten commands a second',
  ),
  config_reloaded: text('the changed local configuration was read again', NOTHING_TO_DO),
  config_dropped: text('remote settings were removed on the device', NOTHING_TO_DO),
  config_not_confirmed: text(
    'the change of the configuration was not confirmed in time',
    'send it again, and then config.confirm',
  ),
  config_broker_lost: text(
    'the broker was unreachable with the changed configuration',
    'correct the settings of the broker in the change',
  ),
  config_start_failed: text(
    'the agent does not start with the changed configuration',
    'correct the change as the message says',
  ),
  config_not_applied: text(
    'the changed configuration could not be applied',
    'correct the change as the message says',
  ),
  config_withdrawn: text('the change of the configuration was undone on request', NOTHING_TO_DO),
  config_interrupted: text(
    'the agent stopped or restarted before the change was confirmed',
    'send the change again',
  ),
  copied: text(
    '`store_id_changed`: the state directory is a copy of another one',
    'stop the agent that uses the other one, if it has the same site and device',
  ),
  other_machine: text('`store_id_changed`: the state directory came to another machine', NOTHING_TO_DO),
  other_disk: text('`store_id_changed`: the state directory came to another disk', NOTHING_TO_DO),
  database_replaced: text('`store_id_changed`: the database was replaced by another one', NOTHING_TO_DO),
  file_missing: text('`store_id_changed`: the file of the numbering was missing', NOTHING_TO_DO),
  'exit-code': text('`service_stopped`: the agent ended with a failure', 'see the log of the service'),
  signal: text('`service_stopped`: a signal ended the agent', 'see who sent it in the log of the system'),
  'core-dump': text('`service_stopped`: the agent crashed', 'report it with the log of the service'),
  watchdog: text('`service_stopped`: a part of the agent made no progress', 'see the event `no_progress`'),
  timeout: text('`service_stopped`: the start or the stop took too long', 'see the log of the service'),
  'oom-kill': text(
    '`service_stopped`: the agent exceeded the memory of the machine or of the unit',
    'stop other programs, or use a smaller model',
  ),
  protocol: text('`service_stopped`: the agent ended before it was ready', 'see the log of the service'),
  'start-limit-hit': text(
    '`service_stopped`: the service was started too often',
    'see the log of the service',
  ),
  resources: text('`service_stopped`: systemd could not start the agent', 'see the log of the system'),
} as const;
