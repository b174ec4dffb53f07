import { systemClock } from '../../base/clock.ts';
import { ERROR_CODES } from '../../base/errors.ts';
import { redactAddress } from '../../base/redact.ts';
import { DEGRADED_CODES } from '../../contract/codes.ts';
import { codeFinding, linkFindings, versionName } from '../../control/doctor/link.ts';
import { brokerName } from '../../mqtt/link/failures.ts';
import type { ConnectionReport } from '../../mqtt/probe.ts';
import { Topics } from '../../mqtt/topics.ts';
import { formatCount } from '../format.ts';
import {
  errorFinding,
  failFinding,
  okFinding,
  warnFinding,
  type Finding,
} from '../../control/doctor/finding.ts';
import { tryListen } from './network.ts';
import { findRunningAgent, type RunningAgent } from './running-agent.ts';
import type { DoctorContext } from './context.ts';

const ANSWER_TIMEOUT_MS = 10_000;
const ACCESS_RULES = DEGRADED_CODES.commands_refused.remedy;

/**
 * The connection to the broker. While an agent runs, it is that of the agent: a second one with the same client id would
 * end it. Otherwise each address is tried as the agent would connect.
 */
export async function* checkBroker(context: DoctorContext): AsyncGenerator<Finding> {
  const agent = await findRunningAgent(context);
  if (agent.kind === 'answers') yield* linkFindings(agent.link);
  else if (agent.kind === 'silent') yield silentFinding(agent);
  else if (context.settings.mqtt.url.length === 0) yield await checkEmbedded(context);
  else yield* tryBrokers(context);
}

function silentFinding({ pid, reason }: Extract<RunningAgent, { kind: 'silent' }>): Finding {
  const process = pid === null ? 'another process' : `process ${String(pid)}`;
  return warnFinding(
    'broker',
    `not checked: ${process} uses the state directory, but does not tell its state: ${reason.message}`,
    'run doctor with the configuration of that agent, or stop it first',
  );
}

async function checkEmbedded({ settings }: DoctorContext): Promise<Finding> {
  const { host, port } = settings.mqtt.embedded;
  const at = `${host}:${String(port)}`;
  const code = await tryListen(host, port);
  if (code === null) return okFinding('broker', `embedded, ${at} is free`);
  return code === 'EADDRINUSE'
    ? failFinding('broker', `another program already uses ${at}`, ERROR_CODES.mqtt_port_taken.hint)
    : failFinding(
        'broker',
        `cannot listen on ${at} (${code})`,
        'set mqtt.embedded.host and mqtt.embedded.port',
      );
}

/** Tries each address. One that cannot be used is a warning while another one works: the agent tries them in turn. */
async function* tryBrokers(context: DoctorContext): AsyncGenerator<Finding> {
  const { url: urls } = context.settings.mqtt;
  const failed: Finding[] = [];
  let works = false;
  for (const url of urls) {
    try {
      yield* tryBroker(url, context);
      works = true;
    } catch (thrown) {
      context.terminal.signal.throwIfAborted();
      const finding = errorFinding('broker', thrown);
      failed.push(
        urls.length === 1 ? finding : { ...finding, detail: `${redactAddress(url)}: ${finding.detail}` },
      );
    }
  }
  for (const finding of failed) yield works ? { ...finding, state: 'warn' } : finding;
}

async function* tryBroker(url: string, { settings, terminal }: DoctorContext): AsyncGenerator<Finding> {
  const { mqtt, site, device } = settings;
  const topics = new Topics({ base: mqtt.base, site, device });
  const { probeBroker } = await import('../../mqtt/probe.ts');
  const report = await probeBroker(
    { url, mqtt, topics, timeoutMs: ANSWER_TIMEOUT_MS },
    { clock: systemClock },
    terminal.signal,
  );
  if (report.kind === 'connected') yield* connectionFindings(report, redactAddress(url), topics);
  else
    yield warnFinding(
      'broker',
      `not checked: an agent with the name ${site}/${device} is online at ${brokerName(url)}, and connecting would disconnect it`,
      'run doctor on the machine of that agent, or stop it first',
    );
}

function* connectionFindings(report: ConnectionReport, broker: string, topics: Topics): Generator<Finding> {
  const { commandRefusal, statusRefusal, publishFailure, isStatusDelivered, waitingCommands } = report;
  const wait = waitingCommands === 1 ? 'waits' : 'wait';
  const queued =
    waitingCommands === 0 ? '' : `; ${formatCount(waitingCommands, 'command')} for the agent ${wait} there`;
  const found: Finding[] = [];
  if (publishFailure !== null) {
    const { message, context, code } = publishFailure;
    const reason = typeof context['reason'] === 'string' ? ` (${context['reason']})` : '';
    found.push(
      failFinding('broker', `no message on ${topics.status}: ${message}${reason} [${code}]`, ACCESS_RULES),
    );
  }
  if (commandRefusal !== null)
    found.push(
      failFinding(
        'broker',
        `no commands: the subscription to ${topics.commands} is refused (${commandRefusal})`,
        ACCESS_RULES,
      ),
    );
  if (statusRefusal !== null)
    found.push(
      warnFinding(
        'broker',
        `the subscription to ${topics.status} is refused (${statusRefusal})`,
        ACCESS_RULES,
      ),
    );
  if (isStatusDelivered === false)
    found.push(
      warnFinding(
        'broker',
        `a message on ${topics.status} was accepted, but did not come back: the device may not publish or not read there`,
        ACCESS_RULES,
      ),
    );
  if (found.length === 0)
    yield okFinding(
      'broker',
      `connected to ${broker} as the agent, with ${versionName(report.protocolVersion)}; it may publish its status and receive commands${queued}`,
    );
  for (const limit of report.limits) found.push(codeFinding('', `broker_limits:${limit}`));
  if (report.isStatusStale)
    found.push(
      warnFinding(
        'broker',
        'the retained status says `online`, but no agent answers: it is of an agent that has ended',
        'start the agent: it replaces the status',
      ),
    );
  if (report.lostCommands > 0)
    found.push(
      warnFinding(
        'broker',
        `the broker sent ${formatCount(report.lostCommands, 'command')} with QoS 0 to this check, and will not send ${report.lostCommands === 1 ? 'it' : 'them'} to the agent`,
        'send such commands again, with QoS 1',
      ),
    );
  if (report.isIdFromLogin)
    found.push(
      warnFinding(
        'broker',
        'the broker sets the client id from the login: an agent that was connected with this login elsewhere has lost its connection for a moment',
        'stop that agent before you run doctor (docs/brokers.md, "Client id from the login")',
      ),
    );
  yield* found;
}
