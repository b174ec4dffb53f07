import { startAgent } from '../agent.ts';
import { untilAborted } from '../base/abort.ts';
import { systemClock } from '../base/clock.ts';
import { asAgentError, type ErrorCode } from '../base/errors.ts';
import { LevelledLog, standardOutput } from '../base/log.ts';
import { Backoff } from '../base/retry.ts';
import { Configuration } from '../config/configuration.ts';
import type { Agent, AgentDeps } from '../control/agent-types.ts';
import { formatFault } from '../config/faults.ts';
import { RecentLog } from '../control/recent-log.ts';
import { configFile, configWarnings } from './config.ts';
import { consoleSink } from './console.ts';
import { INSTALLATION_DIR, readAgentVersion, SHIPPED_MODELS_DIR } from './installation.ts';
import type { ConfigOptions } from './options.ts';
import { EXIT, type Terminal } from './terminal.ts';

export interface RunOptions extends ConfigOptions {
  /** Print log lines for people instead of JSON. Default: true on a terminal. */
  readonly pretty?: boolean;
}

/** Errors that a restart may meet for some seconds, because the stopped agent still holds the resource. */
const HELD_RESOURCE_CODES: readonly ErrorCode[] = ['store_locked', 'mqtt_port_taken', 'http_listen'];
const MAX_HELD_MS = 15_000;
/** Between failed starts. The delay doubles, because a start is expensive on a small machine. */
const START_RETRY = { minMs: 500, maxMs: 4000, resetAfterMs: MAX_HELD_MS };
/** Between restarts: repeated restarts must not keep the machine busy. */
const RESTART_DELAY = { minMs: 200, maxMs: 60_000, resetAfterMs: 60_000 };

/** Runs the agent until the signal of the terminal fires; restarts it on request. Resolves with the exit code. */
export async function runAgent(
  options: RunOptions,
  terminal: Terminal,
  time: Pick<AgentDeps, 'clock' | 'kernelClock'> = { clock: systemClock },
): Promise<number> {
  const { env, cwd, signal } = terminal;
  const configuration = Configuration.open(
    { file: configFile(options, env), env, cwd, toleratesFileFaults: true },
    { clock: systemClock },
  );
  const isPretty = options.pretty ?? process.stdout.isTTY;
  const recentLog = new RecentLog(isPretty ? consoleSink(terminal) : standardOutput());
  const levels = new LevelledLog(configuration.settings.logLevel, recentLog, configuration.redact);
  const { log } = levels;
  terminal.hangUp.reload = () => {
    log.info('reloading the configuration');
    try {
      const { keys, restart } = configuration.reload();
      log.info({ keys }, keys.length === 0 ? 'the configuration has not changed' : 'configuration reloaded');
      if (restart.length > 0) log.warn({ keys: restart }, 'the change needs a restart of all parts');
    } catch (thrown) {
      log.error({ err: asAgentError(thrown) }, 'configuration not reloaded: the former one stays in force');
    }
  };
  log.info({ ...configuration.sources }, 'sources of the settings; all others have their defaults');
  for (const fault of configuration.fileFaults)
    log.warn(`no connection to the broker until this is corrected: ${formatFault(fault)}`);
  for (const { warning } of await configWarnings(configuration.settings, terminal)) log.warn(warning);
  const restartBackoff = new Backoff(RESTART_DELAY, { clock: systemClock });
  for (let isRestart = false; ; isRestart = true) {
    const restart = new AbortController();
    const start = (): Promise<Agent> => {
      levels.level = configuration.settings.logLevel;
      return startAgent(
        {
          settings: configuration.settings,
          version: readAgentVersion(),
          installationDir: INSTALLATION_DIR,
          shippedModelsDir: SHIPPED_MODELS_DIR,
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
    // Another program may hold a port that a remote command has set: wait for it before that setting is dropped.
    const mayWait = isRestart || configuration.isRemote;
    const agent = await startWithRetries(start, configuration, mayWait, signal);
    if (agent === null) return EXIT.ok;
    restartBackoff.started();
    await untilAborted(AbortSignal.any([signal, restart.signal]));
    log.info(signal.aborted ? 'stopping' : 'restarting');
    await agent.stop({ isRestart: !signal.aborted });
    if (!signal.aborted) await systemClock.sleep(restartBackoff.nextMs(), signal).catch(() => undefined);
    if (!signal.aborted) continue;
    configuration.close();
    log.info('stopped');
    return EXIT.ok;
  }
}

/** Resolves with null when the signal fires first. If the agent does not start with settings of remote commands, tries without. */
async function startWithRetries(
  start: () => Promise<Agent>,
  configuration: Configuration,
  mayWait: boolean,
  signal: AbortSignal,
): Promise<Agent | null> {
  const heldUntilMonoMs = systemClock.monoMs() + (mayWait ? MAX_HELD_MS : 0);
  const backoff = new Backoff(START_RETRY, { clock: systemClock, random: () => 1 });
  let wasDamaged = false;
  for (;;) {
    const { settings } = configuration;
    try {
      return await start();
    } catch (thrown) {
      const failure = asAgentError(thrown);
      const isHeld = HELD_RESOURCE_CODES.includes(failure.code) && systemClock.monoMs() < heldUntilMonoMs;
      // The first start that reads a damaged part of the database notes it: the second one sets the file aside.
      const isDamaged: boolean = failure.code === 'store_corrupt' && !wasDamaged;
      wasDamaged ||= isDamaged;
      if (!isHeld && !isDamaged && !configuration.handleStartFailure(failure, settings)) throw thrown;
      try {
        await systemClock.sleep(backoff.nextMs(), signal);
      } catch (stopped) {
        if (signal.aborted) return null;
        throw stopped;
      }
    }
  }
}
