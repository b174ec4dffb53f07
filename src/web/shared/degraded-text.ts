// Longer than 300 lines because the words for all degraded codes are one table, for translators.
import type { DEGRADED_CODES } from '../../contract/codes.ts';

/** The part of the agent that a code is about. */
export type HealthArea =
  'broker' | 'outbox' | 'cameras' | 'model' | 'disk' | 'memory' | 'processor' | 'power' | 'clock' | 'agent';

export interface DegradedText {
  readonly area: HealthArea;
  /** `bad`: measurements are lost or do not arrive. `warn`: they still do. */
  readonly tone: 'warn' | 'bad';
  readonly title: string;
  readonly meaning: string;
  readonly remedy: string;
}

const word = (
  area: HealthArea,
  tone: 'warn' | 'bad',
  title: string,
  meaning: string,
  remedy: string,
): DegradedText => ({ area, tone, title, meaning, remedy });

const SUPPLY = 'Use the power supply that the maker of the board recommends, with a short cable.';
const COOL = 'Give the board shade and air, and check its fan.';

/**
 * What each code in `degraded` of a heartbeat means, in words for people who know surf and not software. A code without a
 * text does not compile. `{…}` stands for the part of the code after the colon.
 */
const TEXTS: Readonly<Record<keyof typeof DEGRADED_CODES, DegradedText>> = {
  clock_unsynced: word(
    'clock',
    'warn',
    'The clock is not set',
    'No time source has set the clock of the device since it started. The times of its readings may be wrong.',
    'Give the device a time source: a network with NTP, or a clock with a battery.',
  ),
  clock_offset: word(
    'clock',
    'warn',
    'The clock is off',
    'The clock is off by a second or more. The device corrects it slowly.',
    'Wait. If it lasts for hours, check the time source.',
  ),
  link_down: word(
    'broker',
    'bad',
    'No connection to the broker',
    'Readings are stored on the device, and sent when the connection is back.',
    'Check the network of the device, and the address of the broker (`mqtt.url`).',
  ),
  link_flapping: word(
    'broker',
    'warn',
    'The connection to the broker is unstable',
    'The device has lost and made the connection at least five times in the last hour.',
    'Check the network of the device: the signal of its radio, the cable, the router.',
  ),
  link_refused: word(
    'broker',
    'bad',
    'The broker refuses the device',
    'The broker does not accept the user name, the password or the certificate, or it lacks QoS 1.',
    'Check the user name, the password and the certificates for the broker.',
  ),
  link_contested: word(
    'broker',
    'bad',
    'Two devices use the same name',
    'Another agent connected with the identity of this device in the last hour. They disconnect each other.',
    'Rename or stop one of them: `site`, `device` or `mqtt.clientId`.',
  ),
  commands_refused: word(
    'broker',
    'warn',
    'Commands do not reach the device',
    'The broker does not let the device receive commands. Its readings still arrive.',
    'Change the access rules of the broker.',
  ),
  'certificate_expiring:{whose}': word(
    'broker',
    'warn',
    'A certificate expires soon: {…}',
    'After it expires, the device cannot connect to the broker.',
    'Renew the certificate. The agent reads new files without a restart.',
  ),
  credentials_unusable: word(
    'broker',
    'warn',
    'A key or password file is incomplete',
    'The agent uses the former files. Without them, it cannot connect to the broker.',
    'Write the named file completely. The certificate and the key must belong together.',
  ),
  'broker_limits:{feature}': word(
    'broker',
    'warn',
    'The broker lacks a feature: {…}',
    'The agent works without it.',
    'Nothing has to be done. The guide of brokers says what is lost.',
  ),
  'camera_down:{id}': word(
    'cameras',
    'bad',
    'Camera {…} delivers no frames',
    'There are no readings of this camera.',
    'Check the power and the network of the camera, then its address and password.',
  ),
  'camera_frozen:{id}': word(
    'cameras',
    'bad',
    'Camera {…} repeats the same frame',
    'The camera answers, but its picture stands still. There are no readings of it.',
    'Restart the camera.',
  ),
  'camera_obstructed:{id}': word(
    'cameras',
    'bad',
    'Something covers the lens of camera {…}',
    'The sea is not visible, so there are no readings.',
    'Clean the lens, and remove what stands before it.',
  ),
  'view_changed:{id}': word(
    'cameras',
    'warn',
    'Camera {…} was moved',
    'It looks somewhere else than when people read it, so it gives no heights. Its readings are kept for the old view.',
    'Turn the camera back, or read some frames of the new view.',
  ),
  vision_down: word(
    'model',
    'bad',
    'The model does not run',
    'No frame is read at present. The agent starts the model again by itself.',
    'Wait a minute. If it happens often, check the free memory.',
  ),
  inference_failing: word(
    'model',
    'warn',
    'The model fails often',
    'At least five frames of the last hour could not be read.',
    'If a new model is the cause, return to the previous one.',
  ),
  model_missing: word(
    'model',
    'bad',
    'There is no model',
    'Without a model no frame is read.',
    'Install a model, or check the setting `model.active`.',
  ),
  unsigned_model: word(
    'model',
    'warn',
    'The model has no signature',
    'Nobody vouches for the origin of this model. The setting `model.allowUnsigned` allows it.',
    'Install a signed model.',
  ),
  model_expiry_unchecked: word(
    'model',
    'warn',
    'The age of the signature is unchecked',
    'The clock was not set when the model was installed. Its signature may have expired before.',
    'Install the model again when the clock is set.',
  ),
  outbox_backlog: word(
    'outbox',
    'warn',
    'Messages wait for the broker',
    'The oldest unsent message is older than 15 minutes.',
    'Wait while the number falls. If it does not, check the connection to the broker.',
  ),
  outbox_dropping: word(
    'outbox',
    'bad',
    'Messages were dropped',
    'The outbox is full: the oldest unsent messages were dropped.',
    'Restore the connection to the broker, or raise the limits of `store.outbox`.',
  ),
  store_full: word(
    'disk',
    'bad',
    'The disk is full',
    'Nothing more can be deleted, so readings are lost.',
    'Free space on the disk, or reduce `store.maxMb`.',
  ),
  store_failed: word(
    'disk',
    'bad',
    'The disk cannot be written',
    'Writing fails, or the disk is gone. Readings are lost.',
    'Check the disk and the permissions of the state directory.',
  ),
  store_corrupt: word(
    'disk',
    'bad',
    'The database is damaged',
    'The next start sets the damaged database aside and begins a new one.',
    'Restart the agent, and check the disk.',
  ),
  disk_low: word(
    'disk',
    'warn',
    'The disk is nearly full',
    'When the disk is full, the oldest readings are deleted.',
    'Delete other files, or reduce `store.maxMb`.',
  ),
  disk_worn: word(
    'disk',
    'warn',
    'The storage is worn out',
    'The built-in storage has used 90 % of its life, or reports its end.',
    'Replace the storage, and keep a backup until then.',
  ),
  writes_high: word(
    'disk',
    'warn',
    'The agent writes much to the disk',
    'At this rate a memory card wears out early.',
    'Observe less often, or raise `health.maxWrittenMbDay` if the disk allows it.',
  ),
  state_volatile: word(
    'disk',
    'warn',
    'Readings are in memory only',
    'The next restart of the device loses readings and unsent messages.',
    'Put the state directory on a disk. On Raspberry Pi OS, switch off the overlay file system.',
  ),
  memory_low: word(
    'memory',
    'warn',
    'Little memory is free',
    'Less than 64 MB is free. The system may stop the model or the agent.',
    'Stop other programs, or use a smaller model.',
  ),
  temperature_high: word('processor', 'warn', 'The device is hot', 'The processor has 80 °C or more.', COOL),
  throttled: word(
    'processor',
    'warn',
    'The device slows itself down',
    'The board is too hot, or its voltage is too low.',
    `${COOL} ${SUPPLY}`,
  ),
  under_voltage: word(
    'power',
    'warn',
    'The supply voltage is too low',
    'The device may restart or lose data.',
    SUPPLY,
  ),
  hot_surface: word('processor', 'warn', 'The case is too hot to touch', 'The board may be damaged.', COOL),
  over_current: word(
    'power',
    'warn',
    'The board takes too much current',
    'The board slowed itself down for it within the last hour.',
    SUPPLY,
  ),
  capture_slowed: word(
    'processor',
    'warn',
    'Cameras are read less often',
    'The device saves heat or power.',
    'See the problem of heat or voltage beside this one.',
  ),
  'probe_failed:{part}': word(
    'agent',
    'warn',
    'A part of the health is not known: {…}',
    'The agent could not read this part.',
    'See the log. Report it if it stays after a restart.',
  ),
};

/** The text of a code of this or a newer agent. */
export function degradedText(code: string): DegradedText {
  const [name = '', ...rest] = code.split(':');
  const key = Object.keys(TEXTS).find((one) => one === name || one.startsWith(`${name}:`));
  const part = rest.join(':');
  const text = key === undefined ? undefined : TEXTS[key as keyof typeof TEXTS];
  if (text === undefined)
    return word('agent', 'warn', code.replaceAll('_', ' '), 'This page does not know the code.', '');
  return { ...text, title: text.title.replace('{…}', part) };
}
