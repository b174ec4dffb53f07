import { CHANNELS, type Channel, type ChannelMessage } from './channels.ts';
import { EVENT_TYPES } from './events.ts';
import { SchemaRegistry } from './emit-schemas.ts';
import { openForAdditions } from './schema-parts.ts';

type Json = Record<string, unknown>;

/** Facts about the connection that the document contains. */
export interface AsyncApiOptions {
  readonly base: string;
  readonly keepAliveS: number;
  readonly sessionExpiryS: number;
}

const MQTT = { bindingVersion: '0.2.0' };

const PARAMETERS: Readonly<Record<string, Json>> = {
  site: { description: '`site` of the configuration.', default: 'local' },
  device: { description: '`device` of the configuration; the host name when it is not set.' },
  camera: { description: 'Id of a camera.' },
  type: { description: eventTypeList(), examples: Object.keys(EVENT_TYPES) },
  homeAssistantPrefix: { description: '`mqtt.homeAssistant.prefix`', default: 'homeassistant' },
  node: { description: 'Consists of site, device and a digest of the topic of the device.' },
};

/** The MQTT side of the contract as an AsyncAPI 3.0 document: plain JSON. The application it describes is the agent. */
export function asyncApiDocument(options: AsyncApiOptions): Json {
  const registry = new SchemaRegistry();
  const messages: Record<string, Json> = {};
  const channels: Record<string, Json> = {};
  const operations: Record<string, Json> = {};
  for (const channel of CHANNELS) {
    for (const message of channel.messages)
      messages[message.name] ??= describeMessage(message, channel, registry);
    channels[channel.id] = describeChannel(channel, options.base);
    if (!CHANNELS.some(({ reply }) => reply === channel.id))
      operations[channel.id] = describeOperation(channel);
  }
  return {
    asyncapi: '3.0.0',
    id: 'urn:swellsight:edge',
    info: {
      title: 'SwellSight Edge over MQTT',
      version: '1.0.0',
      description:
        'The messages of a device and the commands that it accepts. JSON in UTF-8, snake_case, units in the names, times as ' +
        'ISO 8601 UTC with milliseconds; an unknown value is `null`. Later versions within `v1` may add properties and codes: accept and ignore unknown ones ' +
        '(`x-extensible-enum` lists the codes of this version). Delivery is at least once: drop duplicates by `id`.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: servers(options),
    channels,
    operations,
    components: {
      schemas: registry.schemas,
      messages,
      parameters: PARAMETERS,
      correlationIds: {
        command: {
          description: 'The id that the sender of the command has chosen.',
          location: '$message.payload#/id',
        },
      },
    },
  };
}

function servers({ base, keepAliveS, sessionExpiryS }: AsyncApiOptions): Json {
  const bindings = {
    mqtt: {
      clientId: 'swellsight-{site}-{device}',
      cleanSession: false,
      keepAlive: keepAliveS,
      sessionExpiryInterval: sessionExpiryS,
      lastWill: {
        topic: `${base}/{site}/{device}/status`,
        qos: 1,
        retain: true,
        message: '{"state":"offline","session":"…","at":"…"}',
      },
      ...MQTT,
    },
  };
  const host = { description: 'Address of the broker.', default: '127.0.0.1' };
  const port = (byDefault: string): Json => ({ description: 'Port of the broker.', default: byDefault });
  const common = { host: '{host}:{port}', protocolVersion: '5.0', bindings };
  return {
    plain: {
      ...common,
      protocol: 'mqtt',
      description:
        'Any broker with MQTT 5 or 3.1.1 (`mqtt.url`). The built-in broker of the agent supports 3.1.1.',
      variables: { host, port: port('1883') },
    },
    tls: {
      ...common,
      protocol: 'secure-mqtt',
      description: 'The same over TLS, with user name and password or a client certificate.',
      variables: { host, port: port('8883') },
    },
  };
}

function describeChannel({ id, address, summary, messages }: Channel, base: string): Json {
  const topic = address.startsWith('/') ? address.slice(1) : `${base}/{site}/{device}/${address}`;
  const parameters = [...topic.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  return {
    address: topic,
    title: id,
    summary,
    messages: Object.fromEntries(messages.map(({ name }) => [name, ref('messages', name)])),
    parameters: Object.fromEntries(parameters.map((name) => [name, ref('parameters', name)])),
  };
}

function describeOperation(channel: Channel): Json {
  const { id, direction, qos, retain, expires, summary, messages, reply } = channel;
  const replyChannel = CHANNELS.find((other) => other.id === reply);
  const messageExpiryInterval = expires === undefined ? undefined : { type: 'integer', description: expires };
  return {
    action: direction,
    channel: { $ref: `#/channels/${id}` },
    summary,
    messages: messages.map(({ name }) => ({ $ref: `#/channels/${id}/messages/${name}` })),
    bindings: { mqtt: { qos, retain, ...(messageExpiryInterval ? { messageExpiryInterval } : {}), ...MQTT } },
    ...(replyChannel
      ? {
          reply: {
            channel: { $ref: `#/channels/${replyChannel.id}` },
            messages: replyChannel.messages.map(({ name }) => ({
              $ref: `#/channels/${replyChannel.id}/messages/${name}`,
            })),
          },
        }
      : {}),
  };
}

function describeMessage(
  { name, schema, contentType }: ChannelMessage,
  channel: Channel,
  registry: SchemaRegistry,
): Json {
  const isCommand = channel.reply !== undefined;
  const isResponse = channel.id.startsWith('answer');
  return {
    name,
    title: name,
    contentType,
    payload:
      schema === null
        ? { type: 'string', contentEncoding: 'binary' }
        : registry.add(name, channel.direction === 'send' ? openForAdditions(schema) : schema),
    ...(isCommand || isResponse ? { correlationId: { $ref: '#/components/correlationIds/command' } } : {}),
    // Without the MQTT 5 property `contentType`: the agent does not send it.
    bindings: { mqtt: { ...(isCommand ? replyProperties() : {}), ...MQTT } },
  };
}

/** MQTT 5 properties that a command may have. */
function replyProperties(): Json {
  return {
    responseTopic: {
      type: 'string',
      description: 'MQTT 5: topic of the responses; used when it is below `cmdres/`.',
    },
    correlationData: { type: 'string', description: 'MQTT 5: returned unchanged with the responses.' },
  };
}

function eventTypeList(): string {
  return Object.entries(EVENT_TYPES)
    .map(([type, { meaning }]) => `- \`${type}\`: ${meaning}`)
    .join('\n');
}

const ref = (kind: string, name: string): Json => ({ $ref: `#/components/${kind}/${name}` });
