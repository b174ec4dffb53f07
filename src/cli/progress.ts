import type { Terminal } from './terminal.ts';

export interface Progress {
  update(done: number, total: number): void;
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

/** A bar on standard error, on a terminal only. */
export async function progressBar(what: string, terminal: Terminal): Promise<Progress> {
  if (!terminal.bars) return SILENT;
  const { default: cliProgress } = await import('cli-progress');
  const format = `${what} [{bar}] {value}/{total} {eta_formatted}`;
  const bar = new cliProgress.SingleBar(
    { format, clearOnComplete: true, hideCursor: true, stream: process.stderr },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  return {
    update: (done, total) => {
      if (!started) bar.start(total, done);
      else bar.update(done);
      started = true;
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}
