import { fileURLToPath } from 'node:url';
import { startAgent } from '../agent.ts';
import type { Agent, AgentDeps } from '../control/agent-types.ts';
import { systemClock } from '../base/clock.ts';
import { Configuration } from '../config/configuration.ts';
import { asAgentError, isAbort, type ErrorCode } from '../base/errors.ts';
import { LevelledLog, standardOutput } from '../base/log.ts';
import { RecentLog } from '../control/recent-log.ts';
import { Backoff } from '../base/retry.ts';
import { consoleSink } from './console.ts';
import { configFile, type ConfigOptions } from './settings.ts';
import { EXIT, type Terminal } from './terminal.ts';
import { agentVersion } from './version.ts';

export interface RunOptions extends ConfigOptions {
  /** Lines for people instead of JSON; by itself on a terminal. */
  readonly pretty?: boolean;
}

/** What the former start may still hold for a moment when the next one begins. */
const STILL_HELD: readonly ErrorCode[] = ['store_locked', 'mqtt_port_taken', 'http_listen'];
const HELD_FOR_MS = 15_000;
/** Twice as long after each try: a start is work, for a small machine most of all. */
const TRY_AGAIN = { minMs: 500, maxMs: 4000, resetAfterMs: HELD_FOR_MS };
const ANEW = { minMs: 200, maxMs: 60_000, resetAfterMs: 60_000 };

/** Runs the agent until it is told to stop; it starts anew when it wants to. Resolves with the exit code. */
export async function runAgent(
  options: RunOptions,
  terminal: Terminal,
  time: Pick<AgentDeps, 'clock' | 'kernelClock'> = { clock: systemClock },
): Promise<number> {
  const { env, cwd, signal } = terminal;
  const configuration = Configuration.open(
    { file: configFile(options, env), env, cwd },
    { clock: systemClock },
  );
  const pretty = options.pretty ?? process.stdout.isTTY;
  const recentLog = new RecentLog(
    pretty ? consoleSink(process.stdout, terminal.colour.out) : standardOutput(),
  );
  const levels = new LevelledLog(configuration.settings.logLevel, recentLog);
  const { log } = levels;
  const backoff = new Backoff(ANEW, { clock: systemClock });
  for (let again = false; ; again = true) {
    const restart = new AbortController();
    const start = (): Promise<Agent> => {
      levels.level = configuration.settings.logLevel;
      return startAgent(
        {
          settings: configuration.settings,
          version: agentVersion(),
          shippedModelsDir: fileURLToPath(new URL('../../models', import.meta.url)),
          env,
        },
        {
          ...time,
          random: Math.random,
          levels,
          recentLog,
          configuration,
          onRestartWanted: () => restart.abort(),
        },
      );
    };
    const agent = await started(start, configuration, again, signal);
    if (agent === null) return EXIT.ok;
    backoff.started();
    await aborted(AbortSignal.any([signal, restart.signal]));
    log.info(signal.aborted ? 'stopping' : 'starting anew');
    await agent.stop({ isRestart: !signal.aborted });
    // Whatever wants a new start again and again must not keep the machine busy with it.
    if (!signal.aborted) await systemClock.sleep(backoff.nextMs(), signal).catch(() => undefined);
    if (!signal.aborted) continue;
    configuration.close();
    log.info('stopped');
    return EXIT.ok;
  }
}

/** Null when it was told to stop while it could not start. Settings on trial that it does not start with are undone. */
async function started(
  start: () => Promise<Agent>,
  configuration: Configuration,
  again: boolean,
  signal: AbortSignal,
): Promise<Agent | null> {
  const untilMonoMs = systemClock.monoMs() + (again ? HELD_FOR_MS : 0);
  const backoff = new Backoff(TRY_AGAIN, { clock: systemClock, random: () => 1 });
  for (;;) {
    try {
      return await start();
    } catch (thrown) {
      const held = STILL_HELD.includes(asAgentError(thrown).code) && systemClock.monoMs() < untilMonoMs;
      if (!held && !configuration.handleStartFailure()) throw thrown;
      try {
        await systemClock.sleep(backoff.nextMs(), signal);
      } catch (stopped) {
        if (isAbort(stopped)) return null;
        throw stopped;
      }
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
