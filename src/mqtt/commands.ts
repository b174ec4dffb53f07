import type { Clock } from '../clock.ts';
import type { AgentApi } from '../contract/api.ts';
import type { CommandReceipt, CommandResult } from '../contract/command.ts';
import { AgentError, asAgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import { deadline } from '../retry.ts';
import type { CommandLog, HandledCommand, RaiseEvent } from '../store/types.ts';
import { Answers, type Answer } from './answers.ts';
import { commandRunner, type RunCommand } from './command-handlers.ts';
import { CommandReader, type KnownCommand } from './command-input.ts';
import type { Topics } from './topics.ts';
import type { CommandPacket, Link } from './types.ts';

export interface CommandsOptions {
  /** Commands under way at a time. */
  readonly concurrency?: number;
  /** Commands that wait for one of them to end; more are rejected as `busy`. */
  readonly queueLimit?: number;
  /** Longest run of one command, ms. A capture may be a burst of many frames. */
  readonly timeoutMs?: Partial<Record<KnownCommand['name'], number>>;
}

export interface CommandsDeps {
  readonly topics: Topics;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly commandLog: CommandLog;
  readonly api: AgentApi;
}

const TIMEOUT_MS = 30_000;
const CAPTURE_TIMEOUT_MS = 900_000;

interface Job {
  readonly id: string;
  readonly command: KnownCommand;
  readonly expiresAtMs: number | null;
  readonly receivedMonoMs: number;
  readonly answer: Answer;
}

/**
 * Commands from the broker: checked, answered with a receipt, run at most once, answered with a result. One that comes
 * again gets the stored result; one that is retained or expired is refused with an event.
 */
export class Commands {
  readonly #deps: CommandsDeps;
  readonly #concurrency: number;
  readonly #queueLimit: number;
  readonly #timeoutMs: Partial<Record<KnownCommand['name'], number>>;
  readonly #reader = new CommandReader();
  readonly #run: RunCommand;
  readonly #answers: Answers;
  readonly #stop = new AbortController();
  readonly #queue: Job[] = [];
  readonly #running = new Set<string>();
  #active = 0;

  constructor(options: CommandsOptions, deps: CommandsDeps) {
    this.#deps = deps;
    this.#concurrency = options.concurrency ?? 4;
    this.#queueLimit = options.queueLimit ?? 16;
    this.#timeoutMs = { capture: CAPTURE_TIMEOUT_MS, ...options.timeoutMs };
    this.#run = commandRunner(deps.api, deps.clock);
    this.#answers = new Answers({}, { ...deps, signal: this.#stop.signal });
  }

  /** Takes one message from `cmd/{name}`. Never throws: what is wrong with it is answered. */
  receive(name: string, packet: CommandPacket): void {
    // An empty retained message is how a retained one is cleared.
    if (packet.payload.length === 0 && packet.retain) return;
    const topic = this.#deps.topics.answer(name, packet.responseTopic);
    const answer: Answer = { topic, correlationData: packet.correlationData };
    const input = this.#reader.read(name, packet.payload);
    try {
      if (packet.retain) this.#refuse(answer, input.id, 'retained', name);
      else if (!input.ok) this.#reject(answer, input.id, input.reason);
      else this.#consider({ ...input, receivedMonoMs: this.#deps.clock.monoMs(), answer });
    } catch (thrown) {
      // The store failed: without it nothing can be run at most once.
      this.#reject(answer, input.id, asAgentError(thrown).code);
    }
  }

  /** Gives up what runs; nothing more is answered. */
  stop(): void {
    this.#stop.abort();
    this.#queue.length = 0;
  }

  #consider(job: Job): void {
    const { id, command, expiresAtMs, answer } = job;
    const known = this.#deps.commandLog.find(id);
    if (known) this.#again(answer, known, command.name);
    else if (this.#isOver(expiresAtMs)) this.#refuse(answer, id, 'expired', command.name);
    else if (this.#stop.signal.aborted) this.#reject(answer, id, 'stopping');
    else if (this.#queue.length >= this.#queueLimit) this.#reject(answer, id, 'busy');
    else this.#accept(job);
  }

  #accept(job: Job): void {
    // Before it runs: after a crash it must be known as handled.
    this.#deps.commandLog.begin(job.id, job.command.name);
    this.#receipt(job.answer, { id: job.id, status: 'accepted', reason: null });
    this.#running.add(job.id);
    this.#queue.push(job);
    this.#next();
  }

  #isOver(expiresAtMs: number | null): boolean {
    return expiresAtMs !== null && !(expiresAtMs > this.#deps.clock.nowMs());
  }

  #next(): void {
    while (this.#active < this.#concurrency) {
      const job = this.#queue.shift();
      if (!job) return;
      this.#active += 1;
      void this.#work(job).finally(() => {
        this.#active -= 1;
        this.#running.delete(job.id);
        this.#next();
      });
    }
  }

  async #work(job: Job): Promise<void> {
    const { clock, commandLog, log } = this.#deps;
    const outcome = await this.#outcome(job);
    if (this.#stop.signal.aborted) return;
    const durationMs = Math.round(clock.monoMs() - job.receivedMonoMs);
    const result = this.#fitting({ id: job.id, ...outcome, duration_ms: durationMs });
    log.info({ command: job.command.name, id: job.id, status: result.status, durationMs }, 'command done');
    try {
      commandLog.finish(job.id, JSON.stringify(result));
    } catch (thrown) {
      log.error({ id: job.id, code: asAgentError(thrown).code }, 'answer not stored');
    }
    this.#answers.send(job.answer, result);
  }

  async #outcome({ command, expiresAtMs }: Job): Promise<Omit<CommandResult, 'id' | 'duration_ms'>> {
    // It may have waited in the queue.
    if (this.#isOver(expiresAtMs)) return { status: 'expired' };
    const timeout = deadline(this.#timeoutMs[command.name] ?? TIMEOUT_MS, this.#stop.signal);
    try {
      const result = await Promise.race([this.#run(command, timeout), late(timeout)]);
      return { status: 'succeeded', result: result ?? null };
    } catch (thrown) {
      const error = timeout.aborted
        ? new AgentError('command_timeout', 'the command took too long', { cause: thrown })
        : asAgentError(thrown);
      return { status: 'failed', error: wireError(error) };
    }
  }

  /** This id was handled before: it gets what is known of it, and does not run again. */
  #again(answer: Answer, { id, name, result }: HandledCommand, wanted: string): void {
    if (name !== wanted) {
      this.#reject(answer, id, 'id_used_before');
      return;
    }
    this.#receipt(answer, { id, status: 'accepted', reason: null, duplicate: true });
    if (result !== null) {
      this.#answers.send(answer, { ...(JSON.parse(result) as CommandResult), duplicate: true });
    } else if (!this.#running.has(id)) {
      const error = wireError(
        new AgentError('command_interrupted', 'the agent ended before the command did'),
      );
      this.#answers.send(answer, { id, status: 'failed', error, duration_ms: 0, duplicate: true });
    }
  }

  /** Never run, and worth an event: someone believes that it was. */
  #refuse(answer: Answer, id: string | null, reason: 'retained' | 'expired', name: string): void {
    this.#reject(answer, id, reason);
    this.#deps.raise({
      type: 'command_refused',
      severity: 'warning',
      code: `command_${reason}`,
      message: `A command was ${reason} and was not run.`,
      context: { command: name.slice(0, 64), id },
    });
  }

  #reject(answer: Answer, id: string | null, reason: string): void {
    this.#deps.log.warn({ id, reason, topic: answer.topic }, 'command rejected');
    this.#receipt(answer, { id, status: 'rejected', reason });
  }

  #receipt(answer: Answer, receipt: CommandReceipt): void {
    this.#answers.send(answer, receipt);
  }

  /** The result, or a failure in its place when the link would not take it. */
  #fitting(result: CommandResult): CommandResult {
    const sizeBytes = Buffer.byteLength(JSON.stringify(result));
    if (sizeBytes <= this.#deps.link.maxPayloadBytes) return result;
    const { id, duration_ms } = result;
    const error = wireError(new AgentError('mqtt_too_large', `the answer has ${sizeBytes} bytes`));
    return { id, status: 'failed', error, duration_ms };
  }
}

function wireError(error: AgentError): NonNullable<CommandResult['error']> {
  // What was not foreseen may carry paths and internals; the log has it.
  const message = error.code === 'internal' ? 'something unforeseen went wrong' : error.message;
  return { code: error.code, message, hint: error.hint };
}

function late(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
