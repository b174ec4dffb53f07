import { Type, type TSchema } from '@sinclair/typebox';
import { COMMAND_ARGS, Command, CommandReceipt, CommandResult, type CommandName } from './command.ts';
import { COMMAND_RESULTS } from './command-results.ts';
import { Health } from './health.ts';
import { HomeAssistantDevice } from './home-assistant.ts';
import { ModelBlockRequest, ModelProgress } from './model.ts';
import { closed } from './schema-parts.ts';
import { Observation } from './observation.ts';
import { CameraState, Event, Info, ModelState, Status } from './states.ts';

/** One kind of payload. */
export interface ChannelMessage {
  readonly name: string;
  /** Null for bytes. */
  readonly schema: TSchema | null;
  readonly contentType: string;
}

/** One kind of topic: the one source of the AsyncAPI document and of every check of what is on the wire. */
export interface Channel {
  readonly id: string;
  /** Below the topic of the device, unless it begins with `/`; levels in braces vary. */
  readonly address: string;
  /** Seen from the agent. */
  readonly direction: 'send' | 'receive';
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly expires?: string;
  readonly summary: string;
  readonly messages: readonly ChannelMessage[];
  /** Id of the channel that its answers come on. */
  readonly reply?: string;
}

const json = (name: string, schema: TSchema): ChannelMessage => ({
  name,
  schema,
  contentType: 'application/json',
});

const STATES: readonly Channel[] = [
  state('status', 'status', Status, 'Whether the device is there; also the will.'),
  state('info', 'info', Info, 'What the device is and can do. The first message of every birth.'),
  {
    ...state('health', 'health', Health, 'The heartbeat.'),
    expires: 'three times `heartbeat.intervalS`, seconds',
  },
  state('cameraState', 'camera/{camera}/state', CameraState, 'Whether the camera gives pictures.'),
  state('cameraLatest', 'camera/{camera}/latest', Observation, 'The newest live record of the camera.'),
  state('modelState', 'model/state', ModelState, 'Which model runs.'),
  state(
    'homeAssistant',
    '/{homeAssistantPrefix}/device/{node}/config',
    HomeAssistantDevice,
    'Device discovery of Home Assistant, when `mqtt.homeAssistant.enabled`. Empty when the device is to be forgotten.',
  ),
];

const STREAMS: readonly Channel[] = [
  stream(
    'cameraObservation',
    'camera/{camera}/observation',
    Observation,
    'Each record when it is made: measured, rejected, failed or skipped.',
  ),
  stream(
    'cameraBackfill',
    'camera/{camera}/backfill',
    Observation,
    'Records of a time without a link, or asked for again: `historical: true`, after the live ones.',
  ),
  stream('event', 'event/{type}', Event, 'What an operator should know.'),
  {
    id: 'cameraImage',
    address: 'camera/{camera}/image',
    direction: 'send',
    qos: 0,
    retain: false,
    summary: 'A picture, when it was asked for. Privacy masks are applied.',
    messages: [{ name: 'Image', schema: null, contentType: 'image/jpeg' }],
  },
  {
    ...stream('modelProgress', 'model/progress', ModelProgress, 'How far the install in hand has come.'),
    qos: 0,
  },
  stream(
    'modelBlockRequest',
    'model/blocks/request',
    ModelBlockRequest,
    'Bytes of a model that the device wants on `cmd/model.block`, for an install with `source: {kind: mqtt}`.',
  ),
  {
    id: 'modelBlock',
    address: 'cmd/model.block',
    direction: 'receive',
    qos: 1,
    retain: false,
    summary:
      'Bytes that the device asked for: 16 bytes of update id, 8 bytes of offset (big-endian), then they. Never retained.',
    messages: [{ name: 'ModelBlock', schema: null, contentType: 'application/octet-stream' }],
  },
];

function state(id: string, address: string, schema: TSchema, summary: string): Channel {
  const name = schema.title ?? id;
  return { id, address, direction: 'send', qos: 1, retain: true, summary, messages: [json(name, schema)] };
}

function stream(id: string, address: string, schema: TSchema, summary: string): Channel {
  return { ...state(id, address, schema, summary), retain: false };
}

/** Every topic of a device: states, streams, and a pair for each command. */
export const CHANNELS: readonly Channel[] = [
  ...STATES,
  ...STREAMS,
  ...commandNames().flatMap((name) => [commandChannel(name), answerChannel(name)]),
];

function commandNames(): CommandName[] {
  return Object.keys(COMMAND_ARGS) as CommandName[];
}

/** `label.remove` -> `LabelRemove`. */
function pascal(name: string): string {
  return name.replace(/(?:^|[._-])(\w)/g, (_all, letter: string) => letter.toUpperCase());
}

function commandChannel(name: CommandName): Channel {
  const args = COMMAND_ARGS[name];
  const wanted: TSchema = args;
  const title = `${pascal(name)}Command`;
  const { id, issued_at, expires_at } = Command.properties;
  const schema = Type.Object(
    { id, issued_at, expires_at, args: 'required' in wanted ? args : Type.Optional(args) },
    { ...closed, title },
  );
  return {
    id: `command${pascal(name)}`,
    address: `cmd/${name}`,
    direction: 'receive',
    qos: 1,
    retain: false,
    summary: `The command \`${name}\`. Never retained.`,
    messages: [json(title, schema)],
    reply: `answer${pascal(name)}`,
  };
}

function answerChannel(name: CommandName): Channel {
  const title = `${pascal(name)}Result`;
  const schema = Type.Object(
    { ...CommandResult.properties, result: Type.Optional(COMMAND_RESULTS[name]) },
    { ...closed, title },
  );
  return {
    id: `answer${pascal(name)}`,
    address: `cmdres/${name}`,
    direction: 'send',
    qos: 1,
    retain: false,
    summary:
      `Answers to \`${name}\`: first a receipt, then the result. They go to the response topic of the command instead ` +
      'when that lies below `cmdres/`.',
    messages: [json('CommandReceipt', CommandReceipt), json(title, schema)],
  };
}
