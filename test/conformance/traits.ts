/** What a broker can do. The suite proves each entry with bare clients, so that none is an excuse; the docs print it. */
export interface Traits {
  readonly protocolVersion: 5 | 4;
  /** Message expiry: an old heartbeat goes away by itself. */
  readonly messageExpiry: boolean;
  /** Response topic and correlation data. */
  readonly responseTopic: boolean;
  /** Retain as published: a retained command is known as such also while the device listens. */
  readonly retainAsPublished: boolean;
  /** Retain handling: what is retained is not given to a subscriber that does not want it. */
  readonly retainHandling: boolean;
  /** A refusal comes as a reason code; without it the sender takes the message for delivered, or is cut off. */
  readonly reasonCodes: boolean;
  readonly qos2: boolean;
  /** A client that comes again gets what came while it was away. */
  readonly keepsSessions: boolean;
  /** Retained messages and sessions are there after the broker was stopped and started. */
  readonly survivesStop: boolean;
  /** The same after `kill -9` of the broker, of every node of it at once. */
  readonly survivesKill: boolean;
  /** Blanks and full stops may be in a topic. */
  readonly dotsInTopics: boolean;
  /** The will is said when the agent dies; false where the broker dies with it. */
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
  ['messageExpiry', 'an old heartbeat goes by itself (message expiry)'],
  ['responseTopic', 'answers on a topic of the sender’s choice (response topic, correlation data)'],
  ['retainAsPublished', 'a retained command is refused also while the device listens'],
  ['retainHandling', 'a retained command is not sent to the device again at each connection'],
  ['reasonCodes', 'a message that is refused comes back with the reason'],
  ['qos2', 'QoS 2 (the agent uses 0 and 1)'],
  ['keepsSessions', 'what comes while a client is away is kept for it'],
  ['survivesStop', 'retained messages and sessions outlive a stop of the broker'],
  ['survivesKill', 'and a kill of the broker, with what it has acknowledged'],
  ['dotsInTopics', '`.` in the names of site, device and camera'],
  ['will', '`offline` when the agent dies'],
];

const cell = (value: boolean | number): string => {
  if (typeof value === 'number') return value === 5 ? '5' : '3.1.1';
  return value ? 'yes' : 'no';
};

/** The table of `docs/brokers.md`, as Prettier would lay it out. */
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
