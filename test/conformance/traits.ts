/** What a broker can do. traits.test.ts proves each entry with plain MQTT clients; docs/brokers.md prints the table. */
export interface Traits {
  readonly protocolVersion: 5 | 4;
  /** Message expiry: the broker deletes an old heartbeat. */
  readonly messageExpiry: boolean;
  /** Response topic and correlation data. */
  readonly responseTopic: boolean;
  /** Retain as published: a subscribed device sees the retain flag of a new command. */
  readonly retainAsPublished: boolean;
  /** Retain handling: a subscriber can decline retained messages. */
  readonly retainHandling: boolean;
  /** The broker refuses with a reason code; otherwise it acknowledges the message or closes the connection. */
  readonly reasonCodes: boolean;
  readonly qos2: boolean;
  /** A client that reconnects gets the messages it missed. */
  readonly keepsSessions: boolean;
  /** Retained messages and sessions survive a stop and start of the broker. */
  readonly survivesStop: boolean;
  /** They also survive `kill -9` of the broker, of all of its nodes at once. */
  readonly survivesKill: boolean;
  /** A topic may contain full stops. */
  readonly dotsInTopics: boolean;
  /** The broker publishes the will when the agent dies; false for a broker that dies with it. */
  readonly will: boolean;
}

export type BrokerName = 'mosquitto, MQTT 5' | 'mosquitto, MQTT 3.1.1' | 'NATS cluster' | 'embedded';

const MOSQUITTO_4: Traits = {
  protocolVersion: 4,
  messageExpiry: false,
  responseTopic: false,
  retainAsPublished: false,
  retainHandling: false,
  reasonCodes: false,
  qos2: true,
  keepsSessions: true,
  survivesStop: true,
  survivesKill: false,
  dotsInTopics: true,
  will: true,
};

export const BROKERS: Readonly<Record<BrokerName, Traits>> = {
  'mosquitto, MQTT 5': {
    ...MOSQUITTO_4,
    protocolVersion: 5,
    messageExpiry: true,
    responseTopic: true,
    retainAsPublished: true,
    retainHandling: true,
    reasonCodes: true,
  },
  'mosquitto, MQTT 3.1.1': MOSQUITTO_4,
  'NATS cluster': { ...MOSQUITTO_4, qos2: false, survivesKill: true, dotsInTopics: false },
  embedded: { ...MOSQUITTO_4, keepsSessions: false, survivesStop: false, will: false },
};

const ROWS: readonly [keyof Traits, string][] = [
  ['protocolVersion', 'MQTT'],
  ['messageExpiry', 'deletes an old heartbeat (message expiry)'],
  ['responseTopic', 'answers on a topic that the sender chooses (response topic, correlation data)'],
  ['retainAsPublished', 'a subscribed device can refuse a new retained command'],
  ['retainHandling', 'does not send a retained command again at each connection'],
  ['reasonCodes', 'refuses a message with a reason code'],
  ['qos2', 'QoS 2 (the agent uses 0 and 1)'],
  ['keepsSessions', 'keeps messages for a disconnected client'],
  ['survivesStop', 'retained messages and sessions survive a stop of the broker'],
  ['survivesKill', 'they and all acknowledged messages survive a kill of the broker'],
  ['dotsInTopics', '`.` in the names of site, device and camera'],
  ['will', '`offline` when the agent dies'],
];

const cell = (value: boolean | number): string => {
  if (typeof value === 'number') return value === 5 ? '5' : '3.1.1';
  return value ? 'yes' : 'no';
};

/** The table of docs/brokers.md, formatted as Prettier does. */
export function brokerTable(): string {
  const names = Object.keys(BROKERS) as BrokerName[];
  const cells = [
    ['', ...names],
    ...ROWS.map(([key, label]) => [label, ...names.map((name) => cell(BROKERS[name][key]))]),
  ];
  const widths =
    cells[0]?.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(cells[0] ?? []), rule, ...cells.slice(1).map(line)].join('\n');
}
