import { Value } from '@sinclair/typebox/value';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { parseJsonObject } from '../../base/json-object.ts';
import { Id } from '../../contract/schema-parts.ts';
import type { Status } from '../../contract/states.ts';
import { createNodeId } from '../../mqtt/discovery/discovery-message.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { Topics } from '../../mqtt/topics.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { checkTopicBase, operatorOptions, pause, type BrokerOptions } from './options.ts';

export interface ForgetOptions extends BrokerOptions {
  readonly homeAssistantPrefix: string;
  readonly force?: boolean;
  readonly yes?: boolean;
}

/** Retained messages arrive within this time. */
const COLLECT_MS = 2000;
/** The broker sends the empty messages back within this time. */
const CLEARED_MS = 5000;
const CHECK_MS = 50;

/**
 * `fleet forget SITE/DEVICE`: clears the retained topics that a device left on the broker, with its discovery message for
 * Home Assistant. Without `--yes` it only lists them. Exits with 0 when they are cleared, else with 1. Throws `usage`
 * for a device that is online and for one without retained topics.
 */
export async function forgetDevice(
  name: string,
  options: ForgetOptions,
  terminal: Terminal,
): Promise<number> {
  const topics = parseDevice(name, options.base);
  checkTopicBase('home-assistant-prefix', options.homeAssistantPrefix);
  const { signal } = terminal;
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  using _client = { [Symbol.dispose]: () => client.close() };
  const retained = new Set<string>();
  let state: unknown;
  await client.subscribe([`${topics.prefix}#`], (topic, payload, isRetained) => {
    if (payload.length === 0) retained.delete(topic);
    else if (isRetained) retained.add(topic);
    if (topic === topics.status) state = (parseJsonObject(payload) as Partial<Status> | null)?.state;
  });
  const [site = '', device = ''] = name.split('/');
  const discovery = `${options.homeAssistantPrefix}/device/${createNodeId({ site, device }, topics)}/config`;
  // Access rules may not let this user read it; the listener above also gets its message.
  const unread = await client.subscribe([discovery], () => undefined).catch(asAgentError);
  if (unread) terminal.err(`not checked: ${discovery} (${unread.message})`);
  await pause(COLLECT_MS, signal);
  if (retained.size === 0)
    throw new AgentError('usage', `the broker retains nothing of ${name}; \`fleet watch\` lists the devices`);
  if ((state === 'online' || state === 'starting') && options.force !== true)
    throw new AgentError('usage', `${name} is ${state}: it would publish its topics again`, {
      hint: 'stop it first; if it no longer exists, and its status is left over, use --force',
    });
  // The status comes last: as long as it is there, `fleet watch` shows the device.
  const found = [...retained]
    .sort()
    .sort((a, b) => Number(a === topics.status) - Number(b === topics.status));
  if (options.yes === true) await clear(found, retained, client, signal);
  const left = [...retained];
  if (options.json === true) terminal.out(toJson({ device: name, topics: found, left }));
  else
    terminal.out([
      ...found,
      options.yes === true
        ? `${found.length - left.length} topics cleared`
        : 'run it again with --yes to clear them',
    ]);
  if (options.yes === true && left.length > 0)
    terminal.err(
      `the broker still retains ${left.join(', ')}: check its access rules (docs/mqtt.md, "Access rules")`,
    );
  return left.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Waits until the broker has sent the empty messages back, which removes their topics from `retained`. */
async function clear(
  topics: readonly string[],
  retained: ReadonlySet<string>,
  client: OperatorClient,
  signal: AbortSignal,
): Promise<void> {
  const failures: AgentError[] = [];
  for (const topic of topics)
    client
      .publish(topic, '', { retain: true })
      .catch((thrown: unknown) => failures.push(asAgentError(thrown)));
  // Some brokers close the connection, or acknowledge the message, instead of a refusal.
  for (let waitedMs = 0; retained.size > 0 && waitedMs < CLEARED_MS; waitedMs += CHECK_MS) {
    const [failure] = failures;
    if (failure)
      throw new AgentError(failure.code, `this user cannot clear the topics: ${failure.message}`, {
        hint: 'log in as a user that may publish on the topics of the device, such as `admin` of config/mosquitto (docs/mqtt.md, "Access rules")',
        cause: failure,
      });
    await pause(CHECK_MS, signal);
  }
}

function parseDevice(name: string, base: string): Topics {
  const [site, device, ...rest] = name.split('/');
  if (rest.length === 0 && Value.Check(Id, site) && Value.Check(Id, device))
    return new Topics({ base, site, device });
  throw new AgentError('usage', `${name} is not one device: SITE/DEVICE`);
}
