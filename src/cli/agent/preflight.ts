import { closeAtEnd } from '../../base/closing.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import { systemClock } from '../../base/clock.ts';
import { createLog } from '../../base/log.ts';
import type { Settings } from '../../config/schema.ts';
import type { PreflightReport } from '../../contract/update-files.ts';
import { loadCommandSettings } from '../config.ts';
import { SHIPPED_MODELS_DIR } from '../installation.ts';
import type { ConfigOptions } from '../options.ts';
import { EXIT, toJsonLine, type Terminal } from '../terminal.ts';

export interface PreflightOptions extends ConfigOptions {
  /** An empty directory for the copy of the database. */
  readonly stateCopy: string;
}

/** The memory limit of the updater is for this process and the vision process together. */
const VISION_MAX_RSS_MB = 300;

/**
 * `agent preflight`: proves that this version can run on this device, before it does. Changes nothing. The last line on
 * standard output is a `PreflightReport`.
 */
export async function runPreflight(options: PreflightOptions, terminal: Terminal): Promise<number> {
  const reason = await findFault(options, terminal);
  const report: PreflightReport = { format: 1, ok: reason === null, reason };
  terminal.out(toJsonLine(report));
  return reason === null ? EXIT.ok : EXIT.failed;
}

async function findFault(options: PreflightOptions, terminal: Terminal): Promise<PreflightReport['reason']> {
  let settings: Settings | null = null;
  const checks: readonly (readonly [name: string, code: ErrorCode, check: () => Promise<void>])[] = [
    [
      'configuration',
      'config_invalid',
      async () => void (settings = await loadCommandSettings(options, terminal)),
    ],
    ['native modules', 'update_preflight_failed', loadNativeModules],
    ['golden outputs', 'update_preflight_failed', () => reproduceGolden(terminal.signal)],
    ['database', 'update_preflight_failed', () => copyDatabase(settings, options.stateCopy)],
  ];
  for (const [name, code, check] of checks) {
    try {
      await check();
      terminal.err(`${name}: ok`);
    } catch (thrown) {
      terminal.signal.throwIfAborted();
      const error = asAgentError(thrown);
      const known = error.code.startsWith('update_') ? error.code : code;
      return { code: known, message: `${name}: ${error.message}`.slice(0, 500) };
    }
  }
  return null;
}

/** koffi is loaded here; better-sqlite3, sharp and onnxruntime are loaded by the other checks. */
async function loadNativeModules(): Promise<void> {
  const { openNotifySocket } = await import('../../health/watchdog.ts');
  (await openNotifySocket('@swellsight-preflight'))?.close();
}

/** Starts the shipped model in a vision process, as the agent does: it must reproduce its golden outputs. */
async function reproduceGolden(signal: AbortSignal): Promise<void> {
  const { resolveActiveModel } = await import('../../model/slots/active-model.ts');
  const { VisionProcess } = await import('../../vision/vision-process.ts');
  const { bundle } = await resolveActiveModel({
    shippedDir: SHIPPED_MODELS_DIR,
    installedDirs: [],
    active: null,
    signal,
  });
  const plan = { provider: 'cpu', threads: 1 };
  const vision = new VisionProcess(
    { bundle, plan, timeoutS: 60, maxRssMb: VISION_MAX_RSS_MB, queueMax: 1 },
    { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
  );
  await using _closed = closeAtEnd(() => vision.close());
  await vision.start(signal);
}

async function copyDatabase(settings: Settings | null, copyDir: string): Promise<void> {
  if (settings === null) return;
  const { migrateCopy } = await import('../../store/file/migrate-copy.ts');
  try {
    migrateCopy(settings.stateDir, copyDir);
  } catch (thrown) {
    const error = asAgentError(thrown);
    const code = error.code === 'store_full' ? 'update_space' : 'update_schema';
    throw new AgentError(code, error.message, { cause: thrown });
  }
}
