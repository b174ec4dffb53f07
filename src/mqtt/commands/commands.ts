import type { Clock } from '../../base/clock.ts';
import type { AgentApi } from '../../contract/api.ts';
import type { CommandName, CommandResult } from '../../contract/command.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import type { CommandLog, HandledCommand, RaiseEvent } from '../../store/types.ts';
import { Answers, sameAnswer, type Answer } from './answers.ts';
import {
  ARGS_RULES,
  BESIDE,
  COMMAND_TIMEOUT_MS,
  commandHandlers,
  HARMLESS,
  runCommand,
  type CommandHandlers,
} from './handlers.ts';
import { CommandReader, type KnownCommand } from './input.ts';
import { fitting, late, receipt, wireError, type Job, type Resumed } from './job.ts';
import { TokenBucket, type TokenBucketOptions } from '../../base/token-bucket.ts';
import { judgeTimes, type CommandTimes, type TimeVerdict } from './time.ts';
import { Refusals, type RefusalCode } from './refusals.ts';
import type { Topics } from '../topics.ts';
import type { CommandPacket, Link } from '../types.ts';

export interface CommandsOptions {
  /** Commands under way at a time. */
  readonly concurrency?: number;
  /** Commands that wait for one of them to end; more are rejected as `busy`. */
  readonly queueLimit?: number;
  /** Commands that are accepted, or answered again, at most; more are rejected as `busy`. */
  readonly rate?: TokenBucketOptions;
  /** Longest run of one command, ms. */
  readonly timeoutMs?: Partial<Record<CommandName, number>>;
}

export interface CommandsDeps {
  readonly topics: Topics;
  readonly link: Link;
  readonly clock: Clock;
  /** Whether the wall clock can be believed; it is when this is not given. */
  readonly clockSynced?: () => boolean;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly commandLog: CommandLog;
  readonly api: AgentApi;
}

const TIMEOUT_MS = 30_000;
/** Each accepted one waits twice for the disk. */
const RATE = { perS: 10, burst: 50 };
const LOG_LINES = { perS: 0.2, burst: 20 };
/** Of those that wait for no others. */
const MAX_BESIDE = 64;
const MAX_CORRELATION_BYTES = 1024;
/** Senders of one command that are told of its end. */
const MAX_ASKERS = 4;

/**
 * Commands from the broker: checked, answered with a receipt, run at most once, answered with a result. One that comes
 * again gets the stored result; one that is retained or expired is refused with an event.
 */
export class Commands {
  readonly #deps: CommandsDeps;
  readonly #concurrency: number;
  readonly #queueLimit: number;
  readonly #timeoutMs: Partial<Record<CommandName, number>>;
  readonly #reader = new CommandReader(ARGS_RULES);
  readonly #rate: TokenBucket;
  readonly #logLines: TokenBucket;
  readonly #handlers: CommandHandlers;
  readonly #answers: Answers;
  readonly #refusals: Refusals;
  readonly #stop = new AbortController();
  readonly #queue: Job[] = [];
  /** Queued or under way. */
  readonly #jobs = new Map<string, Job>();
  #active = 0;
  /** Under way beside those. */
  #beside = 0;
  #unlogged = 0;

  constructor(options: CommandsOptions, deps: CommandsDeps) {
    const { signal } = this.#stop;
    this.#deps = deps;
    this.#concurrency = options.concurrency ?? 4;
    this.#queueLimit = options.queueLimit ?? 16;
    this.#timeoutMs = { ...COMMAND_TIMEOUT_MS, ...options.timeoutMs };
    this.#rate = new TokenBucket(options.rate ?? RATE, deps.clock);
    this.#logLines = new TokenBucket(LOG_LINES, deps.clock);
    this.#handlers = commandHandlers(deps);
    this.#refusals = new Refusals({ ...deps, signal });
    const onDropped = ({ topic }: Answer): void => this.#refusals.add('command_unanswered', { topic });
    this.#answers = new Answers({}, { ...deps, signal, onDropped });
  }

  /** Takes one message from `cmd/{name}`. Never throws: what is wrong with it is answered. */
  receive(name: string, packet: CommandPacket): void {
    // An empty retained message is how a retained one is cleared.
    if (packet.payload.length === 0 && packet.retain) return;
    const topic = this.#deps.topics.answerTopic(name, packet.responseTopic);
    const { correlationData } = packet;
    if ((correlationData?.length ?? 0) > MAX_CORRELATION_BYTES) {
      this.#reject({ topic, correlationData: null }, null, 'correlation_too_long');
      return;
    }
    const answer: Answer = { topic, correlationData };
    const input = this.#reader.read(name, packet.payload);
    try {
      if (packet.retain) this.#refuse(answer, input.id, 'retained', name);
      else if (!input.ok) this.#reject(answer, input.id, input.reason);
      else this.#consider(this.#job(input.id, input.command, input.times, answer), answer);
    } catch (thrown) {
      // The store failed: without it nothing can be run at most once.
      this.#reject(answer, input.id, asAgentError(thrown).code);
    }
  }

  /** Whoever sent it is told of its end where answers go that were not asked for elsewhere. */
  resume({ id, name, receivedAtMs, running }: Resumed): void {
    const { clock, commandLog, topics } = this.#deps;
    running.catch(() => undefined);
    if (this.#jobs.has(id) || commandLog.find(id)?.result != null) return;
    this.#begin({
      id,
      name,
      times: { issuedAtMs: null, expiresAtMs: null },
      run: () => running,
      receivedMonoMs: clock.monoMs() - Math.max(0, clock.nowMs() - receivedAtMs),
      askers: [{ topic: topics.answerTopic(name, null), correlationData: null }],
      after: [],
    });
  }

  /** Gives up what runs; nothing more is answered. */
  stop(): void {
    this.#refusals.flush();
    this.#stop.abort();
    this.#queue.length = 0;
  }

  #consider(job: Job, answer: Answer): void {
    const { id, name, times } = job;
    const known = this.#deps.commandLog.find(id);
    const verdict = this.#verdict(times);
    const full = BESIDE.has(name) ? this.#beside >= MAX_BESIDE : this.#queue.length >= this.#queueLimit;
    if (known) this.#again(answer, known, name);
    else if (verdict !== 'in_time') this.#refuse(answer, id, verdict, name);
    else if (this.#stop.signal.aborted) this.#reject(answer, id, 'stopping');
    else if (full || !this.#rate.tryTake()) this.#reject(answer, id, 'busy');
    else this.#accept(job, answer);
  }

  #job(id: string, command: KnownCommand, times: CommandTimes, answer: Answer): Job {
    const after: (() => void)[] = [];
    const afterAnswer = (begin: () => void): void => void after.push(begin);
    const run = (signal: AbortSignal): unknown =>
      runCommand(this.#handlers, command, signal, afterAnswer, id);
    const receivedMonoMs = this.#deps.clock.monoMs();
    return { id, name: command.name, times, run, receivedMonoMs, askers: [answer], after };
  }

  #accept(job: Job, answer: Answer): void {
    const { id, name } = job;
    // Before it runs: after a crash it must be known as handled.
    this.#deps.commandLog.begin(id, name, HARMLESS.has(name));
    void this.#answers.send(answer, receipt(id));
    this.#begin(job);
  }

  #begin(job: Job): void {
    this.#jobs.set(job.id, job);
    if (!BESIDE.has(job.name)) {
      this.#queue.push(job);
      this.#next();
      return;
    }
    this.#beside += 1;
    void this.#work(job).finally(() => {
      this.#beside -= 1;
      this.#jobs.delete(job.id);
    });
  }

  #next(): void {
    while (this.#active < this.#concurrency) {
      const job = this.#queue.shift();
      if (!job) return;
      this.#active += 1;
      void this.#work(job).finally(() => {
        this.#active -= 1;
        this.#jobs.delete(job.id);
        this.#next();
      });
    }
  }

  async #work(job: Job): Promise<void> {
    const { clock, commandLog, link, log } = this.#deps;
    const outcome = await this.#outcome(job);
    if (this.#stop.signal.aborted) return;
    const durationMs = Math.round(clock.monoMs() - job.receivedMonoMs);
    const result = fitting(
      { id: job.id, ...outcome, duration_ms: durationMs },
      job.askers,
      link.maxPayloadBytes,
    );
    log.info({ command: job.name, id: job.id, status: result.status, durationMs }, 'command done');
    try {
      commandLog.finish(job.id, JSON.stringify(result));
    } catch (thrown) {
      log.error({ id: job.id, code: asAgentError(thrown).code }, 'answer not stored');
    }
    const sent = job.askers.map((asker, index) =>
      this.#answers.send(asker, index === 0 ? result : { ...result, duplicate: true }),
    );
    if (job.after.length > 0) void Promise.all(sent).then(() => job.after.forEach((begin) => begin()));
  }

  async #outcome({ name, times, run }: Job): Promise<Omit<CommandResult, 'id' | 'duration_ms'>> {
    // It may have waited in the queue, and the clock may have been set meanwhile.
    if (this.#verdict(times) !== 'in_time') return { status: 'expired' };
    const timeout = deadlineSignal(this.#timeoutMs[name] ?? TIMEOUT_MS, this.#stop.signal);
    try {
      const result = await Promise.race([run(timeout), late(timeout)]);
      return { status: 'succeeded', result: result ?? null };
    } catch (thrown) {
      const error = timeout.aborted
        ? new AgentError('command_timeout', 'the command took too long', { cause: thrown })
        : asAgentError(thrown);
      return { status: 'failed', error: wireError(error) };
    }
  }

  #verdict(times: CommandTimes): TimeVerdict {
    const { clock, clockSynced = () => true } = this.#deps;
    return judgeTimes(times, clock, clockSynced());
  }

  /** This id was handled before: it gets what is known of it, and does not run again. */
  #again(answer: Answer, { id, name, result }: HandledCommand, wanted: string): void {
    if (name !== wanted) {
      this.#reject(answer, id, 'id_used_before');
      return;
    }
    // A stored answer may be large, and asking for it costs nothing.
    if (!this.#rate.tryTake()) {
      this.#reject(answer, id, 'busy');
      return;
    }
    void this.#answers.send(answer, { ...receipt(id), duplicate: true });
    const job = this.#jobs.get(id);
    if (result !== null) {
      void this.#answers.send(answer, { ...(JSON.parse(result) as CommandResult), duplicate: true });
    } else if (!job) {
      const error = wireError(
        new AgentError('command_interrupted', 'the agent ended before the command did'),
      );
      void this.#answers.send(answer, { id, status: 'failed', error, duration_ms: 0, duplicate: true });
    } else if (job.askers.length < MAX_ASKERS && !job.askers.some((one) => sameAnswer(one, answer))) {
      job.askers.push(answer);
    }
  }

  /** Never run, and worth an event: someone believes that it was. */
  #refuse(
    answer: Answer,
    id: string | null,
    reason: 'retained' | 'expired' | 'clock_unsynced' | 'issued_in_future',
    name: string,
  ): void {
    this.#reject(answer, id, reason);
    const code: RefusalCode = `command_${reason}`;
    this.#refusals.add(code, { command: name.slice(0, 64), id });
  }

  /** Waits behind everything else: whoever sends nonsense must not hold up the records. */
  #reject(answer: Answer, id: string | null, reason: string): void {
    if (this.#logLines.tryTake()) {
      const unlogged = this.#unlogged > 0 ? { unlogged: this.#unlogged } : {};
      this.#deps.log.warn({ id, reason, topic: answer.topic, ...unlogged }, 'command rejected');
      this.#unlogged = 0;
    } else {
      this.#unlogged += 1;
    }
    void this.#answers.send(answer, { ...receipt(id), status: 'rejected', reason }, true);
  }
}
