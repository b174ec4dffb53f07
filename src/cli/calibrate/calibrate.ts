import { AgentError } from '../../base/errors.ts';
import { openModel } from '../open-model.ts';
import { progressBar } from '../progress.ts';
import { settingsFor, type ConfigOptions } from '../settings.ts';
import { EXIT, jsonText, type Terminal } from '../terminal.ts';

export interface CalibrateCommandOptions extends ConfigOptions {
  readonly labels: string;
  readonly camera?: string;
  readonly out?: string;
  readonly frames?: string;
  /** False with `--no-gated`. */
  readonly gated: boolean;
  readonly model?: string;
  readonly json?: boolean;
}

/** `calibrate DIR --labels FILE.csv`: a site calibration from labelled files, with its errors beside the median's. */
export async function calibrate(
  dir: string,
  options: CalibrateCommandOptions,
  terminal: Terminal,
): Promise<number> {
  const { runCalibrate } = await import('./run.ts');
  const { formatCalibrateReport } = await import('./report.ts');
  const settings = await settingsFor(options, terminal);
  const framesPerBurst = framesOf(options.frames);
  const { bundle, ref, vision } = await openModel(options.model, settings, terminal);
  const bar = await progressBar('reading frames', terminal);
  try {
    if (bundle.embeddingDigest === null)
      throw new AgentError('calibration_invalid', `the model ${ref.name} has no embedding to calibrate on`);
    const report = await runCalibrate(
      {
        dir,
        labels: options.labels,
        camera: options.camera ?? null,
        out: options.out ?? null,
        framesPerBurst,
        ignoreGate: options.gated,
      },
      {
        vision,
        model: ref,
        embeddingDigest: bundle.embeddingDigest,
        nowMs: Date.now,
        signal: terminal.signal,
        progress: (done, total) => bar.update(done, total),
      },
    );
    bar.stop();
    terminal.out(options.json === true ? jsonText(report) : formatCalibrateReport(report));
    return EXIT.ok;
  } finally {
    bar.stop();
    await vision.close();
  }
}

function framesOf(text: string | undefined): number | null {
  if (text === undefined || text === 'all') return null;
  const frames = Number(text);
  if (!Number.isInteger(frames) || frames < 1)
    throw new AgentError('usage', `--frames ${text} is no number of frames`);
  return frames;
}
