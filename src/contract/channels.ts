import { Type, type TSchema } from '@sinclair/typebox';
import { AgentProgress, AgentVersions } from './agent-update.ts';
import { COMMAND_ARGS, Command, CommandReceipt, CommandResult, type CommandName } from './command.ts';
import { COMMAND_RESULTS } from './command-results.ts';
import { Health } from './health.ts';
import { HomeAssistantDevice } from './home-assistant.ts';
import { ModelBlockRequest, ModelProgress } from './model.ts';
import { closed } from './schema-parts.ts';
import { Observation } from './observation.ts';
import { SeaStateRecord } from './sea-state.ts';
import { CameraState, Event, Info, ModelState, Status } from './states.ts';

/** One kind of payload. */
export interface ChannelMessage {
  readonly name: string;
  /** Null for binary payloads. */
  readonly schema: TSchema | null;
  readonly contentType: string;
}

/** One kind of topic. The AsyncAPI document and all checks of published messages come from this list. */
export interface Channel {
  readonly id: string;
  /** Relative to the topic of the device, or absolute with a leading `/`. Levels in braces are variables. */
  readonly address: string;
  /** From the point of view of the agent. */
  readonly direction: 'send' | 'receive';
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly expires?: string;
  readonly summary: string;
  readonly messages: readonly ChannelMessage[];
  /** Id of the channel of the responses. */
  readonly reply?: string;
}

const json = (name: string, schema: TSchema): ChannelMessage => ({
  name,
  schema,
  contentType: 'application/json',
});

const STATES: readonly Channel[] = [
  state('status', 'status', Status, 'Whether the device is online; also the will.'),
  state('info', 'info', Info, 'Identity and capabilities of the device. The first message of every birth.'),
  {
    ...state('health', 'health', Health, 'The heartbeat.'),
    expires: 'three times `heartbeat.intervalS`, seconds',
  },
  state('cameraState', 'camera/{camera}/state', CameraState, 'Whether the camera delivers frames.'),
  state('cameraLatest', 'camera/{camera}/latest', Observation, 'The newest live record of the camera.'),
  state(
    'cameraSeaStateLatest',
    'camera/{camera}/sea_state/latest',
    SeaStateRecord,
    'The newest live sea state of the camera.',
  ),
  state('modelState', 'model/state', ModelState, 'The active model and the state of installs.'),
  state(
    'agentState',
    'agent/state',
    AgentVersions,
    'The versions of the agent on the device, and its own update.',
  ),
  state(
    'homeAssistant',
    '/{homeAssistantPrefix}/device/{node}/config',
    HomeAssistantDevice,
    'Device discovery of Home Assistant, when `mqtt.homeAssistant.enabled`. An empty payload removes the device.',
  ),
];

const STREAMS: readonly Channel[] = [
  stream(
    'cameraObservation',
    'camera/{camera}/observation',
    Observation,
    'Each new record: measured, rejected, failed or skipped.',
  ),
  stream(
    'cameraBackfill',
    'camera/{camera}/backfill',
    Observation,
    'Records that were made without a connection, or requested again: `historical: true`, after the live records.',
  ),
  stream(
    'cameraSeaState',
    'camera/{camera}/sea_state',
    SeaStateRecord,
    'Wave period and breaking of each clip: measured, rejected, failed or skipped. Has `seq` numbers of its own.',
  ),
  stream(
    'cameraSeaStateBackfill',
    'camera/{camera}/sea_state/backfill',
    SeaStateRecord,
    'Sea states that were made without a connection, or requested again: `historical: true`, after the live records.',
  ),
  stream('event', 'event/{type}', Event, 'An event for the operator.'),
  {
    id: 'cameraImage',
    address: 'camera/{camera}/image',
    direction: 'send',
    qos: 0,
    retain: false,
    summary: 'The newest frame as a JPEG, on request. Privacy masks are applied.',
    messages: [{ name: 'Image', schema: null, contentType: 'image/jpeg' }],
  },
  {
    ...stream('modelProgress', 'model/progress', ModelProgress, 'Progress of the current install.'),
    qos: 0,
  },
  {
    ...stream('agentProgress', 'agent/progress', AgentProgress, 'Progress of the update of the agent.'),
    qos: 0,
  },
  stream(
    'modelBlockRequest',
    'model/blocks/request',
    ModelBlockRequest,
    'Requests bytes of a model or an agent on `cmd/model.block`, for an install with `source: {kind: mqtt}`.',
  ),
  {
    id: 'modelBlock',
    address: 'cmd/model.block',
    direction: 'receive',
    qos: 1,
    retain: false,
    summary:
      'The requested bytes: 16 bytes of update id, 8 bytes of offset (big-endian), then the data. Never retained.',
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
  ...commandNames().flatMap((name) => [commandChannel(name), responseChannel(name)]),
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
  const argsSchema: TSchema = args;
  const title = `${pascal(name)}Command`;
  const { id, issued_at, expires_at, receipt } = Command.properties;
  const schema = Type.Object(
    { id, issued_at, expires_at, receipt, args: 'required' in argsSchema ? args : Type.Optional(args) },
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

function responseChannel(name: CommandName): Channel {
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
      `Responses to \`${name}\`: first a receipt, then the result. When the response topic of the command is below \`cmdres/\`, ` +
      'they go there instead.',
    messages: [json('CommandReceipt', CommandReceipt), json(title, schema)],
  };
}
