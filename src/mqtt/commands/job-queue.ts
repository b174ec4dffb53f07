import type { CommandName } from '../../contract/command.ts';
import type { Requester } from './answers.ts';
import type { CommandTimes } from './command-reader.ts';

/** A command that waits in the queue or runs. */
export interface Job {
  readonly id: string;
  readonly name: CommandName;
  /** True for a command that starts at once and does not wait in the queue. */
  readonly isConcurrent: boolean;
  /** False while the part of the agent that does the work has a full queue of its own. */
  readonly hasRoom: () => boolean;
  readonly times: CommandTimes;
  readonly run: (signal: AbortSignal) => unknown;
  readonly receivedMonoMs: number;
  /** Where the result goes: first the sender, then those who sent the same command while it ran. */
  readonly requesters: Requester[];
  /** Work that starts after the result was delivered, or after its delivery failed. */
  readonly afterAnswer: (() => void)[];
}

/** A command that an earlier run of the agent accepted, and whose work continues in this run. */
export interface ResumedCommand {
  readonly id: string;
  readonly name: CommandName;
  readonly receivedAtMs: number;
  /** Settles with the result of the command. */
  readonly running: Promise<unknown>;
}

export interface JobQueueOptions {
  readonly maxRunning: number;
  readonly maxWaiting: number;
}

const MAX_CONCURRENT = 64;

/** Runs jobs in the order of their arrival, a limited number at a time. Concurrent jobs start at once. */
export class JobQueue {
  readonly #options: JobQueueOptions;
  readonly #run: (job: Job) => Promise<void>;
  readonly #waiting: Job[] = [];
  /** Waiting and running jobs by id. */
  readonly #jobs = new Map<string, Job>();
  readonly #runs = new Set<Promise<void>>();
  #running = 0;
  #runningConcurrent = 0;

  /** `run` must not reject. */
  constructor(options: JobQueueOptions, run: (job: Job) => Promise<void>) {
    this.#options = options;
    this.#run = run;
  }

  hasRoomFor({ isConcurrent, hasRoom }: Job): boolean {
    if (!hasRoom()) return false;
    return isConcurrent
      ? this.#runningConcurrent < MAX_CONCURRENT
      : this.#waiting.length < this.#options.maxWaiting;
  }

  find(id: string): Job | null {
    return this.#jobs.get(id) ?? null;
  }

  add(job: Job): void {
    this.#jobs.set(job.id, job);
    if (!job.isConcurrent) {
      this.#waiting.push(job);
      this.#startNext();
      return;
    }
    this.#runningConcurrent += 1;
    this.#start(job, () => (this.#runningConcurrent -= 1));
  }

  /** Removes the waiting jobs and returns them. Running jobs continue. */
  clear(): readonly Job[] {
    const waiting = this.#waiting.splice(0);
    for (const { id } of waiting) this.#jobs.delete(id);
    return waiting;
  }

  /** Resolves when the jobs that run now have ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#runs);
  }

  #startNext(): void {
    while (this.#running < this.#options.maxRunning) {
      const job = this.#waiting.shift();
      if (!job) return;
      this.#running += 1;
      this.#start(job, () => {
        this.#running -= 1;
        this.#startNext();
      });
    }
  }

  #start(job: Job, onEnd: () => void): void {
    const run = this.#run(job).finally(() => {
      this.#runs.delete(run);
      this.#jobs.delete(job.id);
      onEnd();
    });
    this.#runs.add(run);
  }
}
