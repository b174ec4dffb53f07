import type { Clock } from '../../base/clock.ts';
import { withAbort } from '../../base/abort.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { TokenBucket, type TokenBucketOptions } from '../../base/token-bucket.ts';
import type { AgentApi } from '../../contract/api.ts';
import type { Rejection } from '../../contract/codes.ts';
import type { CommandName, CommandResult } from '../../contract/command.ts';
import type { CommandLog, HandledCommand, RaiseEvent } from '../../store/types.ts';
import type { Topics } from '../topics.ts';
import type { CommandPacket, Link } from '../types.ts';
import {
  AnswerSender,
  createReceipt,
  interruptedError,
  isSameRequester,
  limitResultSize,
  toWireError,
  type Requester,
} from './answers.ts';
import {
  CommandReader,
  judgeTimes,
  type CommandTimes,
  type KnownCommand,
  type TimeVerdict,
} from './command-reader.ts';
import {
  COMMAND_TIMEOUT_MS,
  CONCURRENT_COMMANDS,
  createCommandHandlers,
  REPEATABLE_COMMANDS,
  RESUMED_COMMANDS,
  runHandler,
  type CommandHandlers,
} from './handlers.ts';
import { JobQueue, type Job, type ResumedCommand } from './job-queue.ts';
import { Refusals, type RefusalCode } from './refusals.ts';

export interface CommandsOptions {
  /** Maximum number of queued commands that run at the same time. */
  readonly concurrency?: number;
  /** Maximum number of waiting commands; further commands are rejected as `busy`. */
  readonly queueLimit?: number;
  /** Maximum rate of accepted commands plus answers to repeated commands; commands above it are rejected as `busy`. */
  readonly rate?: TokenBucketOptions;
  /** Timeouts, by name of the command, ms. */
  readonly timeoutMs?: Partial<Record<CommandName, number>>;
}

export interface CommandsDeps {
  readonly topics: Topics;
  readonly link: Link;
  readonly clock: Clock;
  /** False while no time source has set the wall clock. Default: true. */
  readonly clockSynced?: () => boolean;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly commandLog: CommandLog;
  readonly api: AgentApi;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Low, because each accepted command waits for the disk twice. */
const DEFAULT_RATE = { perS: 10, burst: 50 };
const LOG_RATE = { perS: 0.2, burst: 20 };
const MAX_CORRELATION_BYTES = 1024;
/** Maximum number of requesters that get the result of one running command. */
const MAX_REQUESTERS = 4;

/**
 * Commands from the broker: checks each one, answers with a receipt, runs it, and answers with a result.
 *
 * INVARIANTS
 * - A retained, expired or repeated command never runs. A retained or expired command is rejected and raises an event.
 *   A command that expires in the queue gets the result `expired`. A repeated command (same id) gets the stored result.
 * - The log entry of a command is stored before the command runs. A command whose entry cannot be stored is rejected.
 *   After a crash, an entry without a result means that the command may have run: a repeated command with this id gets
 *   the error `command_interrupted` and does not run again.
 *   A command that a stop of the agent interrupts gets this error before the status `stopped`.
 * - There is at most one run per id, in this run of the agent and in later ones.
 * - The queue is bounded. A command that arrives at a full queue, or above the maximum rate, is rejected as `busy`; so is
 *   a capture while too many captures of its camera wait.
 *   Installs, aborts and rollbacks do not wait in the queue; their number is bounded too.
 * - Pending answers are bounded. An answer above the limit is dropped and counts in a `command_unanswered` event.
 */
export class Commands {
  readonly #deps: CommandsDeps;
  readonly #timeoutMs: Partial<Record<CommandName, number>>;
  readonly #reader = new CommandReader();
  readonly #rate: TokenBucket;
  readonly #logRate: TokenBucket;
  readonly #handlers: CommandHandlers;
  readonly #answers: AnswerSender;
  readonly #refusals: Refusals;
  readonly #jobs: JobQueue;
  readonly #stop = new AbortController();
  /** Number of rejections that were not logged, since the last log line about a rejection. */
  #unloggedRejections = 0;

  constructor(options: CommandsOptions, deps: CommandsDeps) {
    const { signal } = this.#stop;
    this.#deps = deps;
    this.#timeoutMs = { ...COMMAND_TIMEOUT_MS, ...options.timeoutMs };
    this.#rate = new TokenBucket(options.rate ?? DEFAULT_RATE, deps.clock);
    this.#logRate = new TokenBucket(LOG_RATE, deps.clock);
    this.#handlers = createCommandHandlers(deps);
    this.#refusals = new Refusals({ ...deps, signal });
    const onDropped = ({ topic }: Requester): void => this.#refusals.add('command_unanswered', { topic });
    this.#answers = new AnswerSender({}, { ...deps, signal, onDropped });
    const { concurrency = 4, queueLimit = 16 } = options;
    this.#jobs = new JobQueue({ maxRunning: concurrency, maxWaiting: queueLimit }, (job) => this.#run(job));
  }

  /** Call it for each message on `cmd/{name}`. Never throws: the answer reports every fault. */
  receive(name: string, packet: CommandPacket): void {
    // An empty retained message is no command: it deletes the retained message of its topic.
    if (packet.payload.length === 0 && packet.retain) return;
    const topic = this.#deps.topics.answerTopic(name, packet.responseTopic);
    const { correlationData } = packet;
    if ((correlationData?.length ?? 0) > MAX_CORRELATION_BYTES) {
      this.#reject({ topic, correlationData: null }, null, 'correlation_too_long');
      return;
    }
    const input = this.#reader.read(name, packet.payload);
    const wantsReceipt = !input.ok || input.wantsReceipt;
    const requester: Requester = { topic, correlationData, wantsReceipt };
    try {
      if (packet.retain) this.#refuse(requester, input.id, 'retained', name);
      else if (!input.ok) this.#reject(requester, input.id, input.reason);
      else this.#acceptOrReject(this.#createJob(input.id, input.command, input.times, requester), requester);
    } catch (thrown) {
      // The store could not save the log entry of the command. Without this entry, the command could run twice.
      this.#reject(requester, input.id, asAgentError(thrown).code);
    }
  }

  /**
   * Answers a command of an earlier run when it ends, on the default answer topic, unless its result is stored already.
   */
  resume({ id, name, receivedAtMs, running }: ResumedCommand): void {
    const { clock, commandLog, topics } = this.#deps;
    running.catch(() => undefined);
    if (this.#jobs.find(id) !== null || commandLog.find(id)?.result != null) return;
    this.#jobs.add({
      id,
      name,
      isConcurrent: CONCURRENT_COMMANDS.has(name),
      hasRoom: () => true,
      times: { issuedAtMs: null, expiresAtMs: null },
      run: () => running,
      receivedMonoMs: clock.monoMs() - Math.max(0, clock.nowMs() - receivedAtMs),
      requesters: [{ topic: topics.answerTopic(name, null), correlationData: null }],
      afterAnswer: [],
    });
  }

  /**
   * Aborts the running commands. They and the waiting ones get the error `command_interrupted`, except those that the next
   * run of the agent continues. Resolves when the answers are delivered or cannot be; each gets one attempt. Idempotent.
   */
  async stop(): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#refusals.flush();
      this.#stop.abort(interruptedError());
      const waiting = this.#jobs.clear();
      await Promise.all([this.#jobs.settled(), ...waiting.map((job) => this.#run(job))]);
    }
    await this.#answers.settled();
  }

  #createJob(id: string, command: KnownCommand, times: CommandTimes, requester: Requester): Job {
    const afterAnswer: (() => void)[] = [];
    const defer = (begin: () => void): void => void afterAnswer.push(begin);
    return {
      id,
      name: command.name,
      isConcurrent: CONCURRENT_COMMANDS.has(command.name),
      hasRoom: () => command.name !== 'capture' || this.#deps.api.hasRoomForCapture(command.args.camera),
      times,
      run: (signal) => runHandler(this.#handlers, command, { id, signal, afterAnswer: defer }),
      receivedMonoMs: this.#deps.clock.monoMs(),
      requesters: [requester],
      afterAnswer,
    };
  }

  #acceptOrReject(job: Job, requester: Requester): void {
    const { id, name, times } = job;
    const handled = this.#deps.commandLog.find(id);
    const verdict = this.#judgeTimes(times);
    if (handled) this.#answerRepeated(requester, handled, name);
    else if (verdict !== 'in_time') this.#refuse(requester, id, verdict, name);
    else if (this.#stop.signal.aborted) this.#reject(requester, id, 'stopping');
    else if (!this.#jobs.hasRoomFor(job) || !this.#rate.tryTake()) this.#reject(requester, id, 'busy');
    else {
      this.#deps.commandLog.begin(id, name, REPEATABLE_COMMANDS.has(name));
      if (requester.wantsReceipt !== false) void this.#answers.send(requester, createReceipt(id));
      this.#jobs.add(job);
    }
  }

  async #run(job: Job): Promise<void> {
    const { clock, commandLog, link, log } = this.#deps;
    const outcome = await this.#runToOutcome(job);
    if (outcome === null) return;
    const durationMs = Math.round(clock.monoMs() - job.receivedMonoMs);
    const full = { id: job.id, ...outcome, duration_ms: durationMs };
    const result = limitResultSize(full, job.requesters, link.maxPayloadBytes);
    log.info({ command: job.name, id: job.id, status: result.status, durationMs }, 'command finished');
    try {
      commandLog.finish(job.id, JSON.stringify(result));
    } catch (thrown) {
      log.error({ id: job.id, code: asAgentError(thrown).code }, 'cannot store the result of a command');
    }
    const sent = job.requesters.map((requester, index) =>
      this.#answers.send(requester, index === 0 ? result : { ...result, duplicate: true }),
    );
    if (job.afterAnswer.length > 0)
      void Promise.all(sent).then(() => job.afterAnswer.forEach((begin) => begin()));
  }

  /** Null for a command that the next run of the agent continues. */
  async #runToOutcome({ name, times, run }: Job): Promise<Omit<CommandResult, 'id' | 'duration_ms'> | null> {
    // The command may have expired in the queue, or the clock may have been set after the first check.
    if (this.#judgeTimes(times) !== 'in_time') return { status: 'expired' };
    const { signal: stopping } = this.#stop;
    const timeout = deadlineSignal(this.#timeoutMs[name] ?? DEFAULT_TIMEOUT_MS, stopping);
    try {
      timeout.throwIfAborted();
      const result = await withAbort(run(timeout), timeout);
      return { status: 'succeeded', result: result ?? null };
    } catch (thrown) {
      if (stopping.aborted && RESUMED_COMMANDS.has(name)) return null;
      if (stopping.aborted) return { status: 'failed', error: toWireError(interruptedError()) };
      const error = timeout.aborted
        ? new AgentError('command_timeout', 'the command did not finish within its timeout', {
            cause: thrown,
          })
        : asAgentError(thrown);
      return { status: 'failed', error: toWireError(error) };
    }
  }

  #judgeTimes(times: CommandTimes): TimeVerdict {
    const { clock, clockSynced = () => true } = this.#deps;
    return judgeTimes(times, clock, clockSynced());
  }

  /** Answers a command whose id was received before: now with its stored result, or later with the future one. */
  #answerRepeated(requester: Requester, { id, name, result }: HandledCommand, requestedName: string): void {
    if (name !== requestedName) {
      this.#reject(requester, id, 'id_used_before');
      return;
    }
    // The rate also limits these answers: a small request can cause a large stored answer.
    if (!this.#rate.tryTake()) {
      this.#reject(requester, id, 'busy');
      return;
    }
    const send = (message: object): void =>
      void this.#answers.send(requester, { ...message, duplicate: true });
    if (requester.wantsReceipt !== false) send(createReceipt(id));
    const job = this.#jobs.find(id);
    if (result !== null) {
      send(JSON.parse(result) as CommandResult);
    } else if (!job) {
      send({ id, status: 'failed', error: toWireError(interruptedError()), duration_ms: 0 });
    } else if (job.requesters.length < MAX_REQUESTERS && !job.requesters.some(isSameRequester(requester))) {
      job.requesters.push(requester);
    }
  }

  /** Rejects a command and raises an event, because its sender may believe that it ran. */
  #refuse(
    requester: Requester,
    id: string | null,
    reason: 'retained' | Exclude<TimeVerdict, 'in_time'>,
    name: string,
  ): void {
    this.#reject(requester, id, reason);
    const code: RefusalCode = `command_${reason}`;
    this.#refusals.add(code, { command: name.slice(0, 64), id });
  }

  /** Sends the rejection with low priority: a sender of many invalid commands must not delay the records. */
  #reject(requester: Requester, id: string | null, reason: Rejection | ErrorCode): void {
    if (this.#logRate.tryTake()) {
      const unlogged = this.#unloggedRejections > 0 ? { unlogged: this.#unloggedRejections } : {};
      this.#deps.log.warn({ id, reason, topic: requester.topic, ...unlogged }, 'command rejected');
      this.#unloggedRejections = 0;
    } else {
      this.#unloggedRejections += 1;
    }
    void this.#answers.send(requester, { ...createReceipt(id), status: 'rejected', reason }, true);
  }
}
