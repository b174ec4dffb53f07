import { fileURLToPath } from 'node:url';
import { Agent } from '../agent.ts';
import { systemClock } from '../clock.ts';
import { createLog, standardOutput } from '../log.ts';
import { RecentLog } from '../recent-log.ts';
import { consoleSink } from './console.ts';
import { settingsFor, type ConfigOptions } from './settings.ts';
import { EXIT, type Terminal } from './terminal.ts';
import { agentVersion } from './version.ts';

export interface RunOptions extends ConfigOptions {
  /** Lines for people instead of JSON; by itself on a terminal. */
  readonly pretty?: boolean;
}

/** Runs the agent until it is told to stop. Resolves with the exit code. */
export async function runAgent(options: RunOptions, terminal: Terminal): Promise<number> {
  const settings = await settingsFor(options, terminal);
  const pretty = options.pretty ?? process.stdout.isTTY;
  const recentLog = new RecentLog(
    pretty ? consoleSink(process.stdout, terminal.colour.out) : standardOutput(),
  );
  const log = createLog(settings.logLevel, recentLog);
  const agent = await Agent.start(
    {
      settings,
      version: agentVersion(),
      shippedModelsDir: fileURLToPath(new URL('../../models', import.meta.url)),
      env: terminal.env,
    },
    { clock: systemClock, random: Math.random, log, recentLog },
  );
  await new Promise<void>((resolve) => {
    if (terminal.signal.aborted) resolve();
    terminal.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  log.info('stopping');
  await agent.stop();
  log.info('stopped');
  return EXIT.ok;
}
