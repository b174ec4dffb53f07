import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export interface LoadJob {
  readonly port: number;
  /** Images, sent in turn. */
  readonly files: readonly string[];
  readonly clients: number;
  readonly requests: number;
}

export interface LoadAnswer {
  readonly tookMs: number;
  /** For each request: from the first byte sent to the last byte received. */
  readonly clientMs: readonly number[];
  /** For each request, from its response: time from the complete image to the response. */
  readonly serverMs: readonly number[];
  readonly cachedCount: number;
}

/** A process that sends images to an agent. */
export class LoadClient {
  readonly #child: ChildProcess = fork(new URL('./http-client-process.ts', import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });

  async run(job: LoadJob): Promise<LoadAnswer> {
    this.#child.send(job);
    const [answer] = (await once(this.#child, 'message')) as [LoadAnswer | { error: string }];
    if ('error' in answer) throw new Error(answer.error);
    return answer;
  }

  close(): void {
    this.#child.kill();
  }
}
