import type { QualityReason, QualityReport, QualitySignals } from '../protocol.ts';

/** A signal's scale: `clean` and better is 0, `limit` is 0.5 and where the gate closes, `worst` and beyond is 1. */
interface Scale {
  readonly clean: number;
  readonly limit: number;
  readonly worst: number;
}

/** Measured on real frames at 512x288: docs/quality-gate.md has the distributions. */
const SCALES = {
  glare01: { clean: 0, limit: 0.05, worst: 0.5 },
  meanLuma: { clean: 80, limit: 40, worst: 8 },
  sharpness01: { clean: 0.7, limit: 0.46, worst: 0.25 },
  laplacianVariance: { clean: 60, limit: 15, worst: 2 },
  blockStd: { clean: 8, limit: 5, worst: 1 },
  obstruction01: { clean: 0.1, limit: 0.33, worst: 0.8 },
  covered01: { clean: 0.05, limit: 0.16, worst: 0.6 },
  damage01: { clean: 0, limit: 0.01, worst: 0.5 },
} as const satisfies Partial<Record<keyof QualitySignals, Scale>>;

/** Where a value lies on its scale, 0..1. */
function severity01(value: number, { clean, limit, worst }: Scale): number {
  const beyondLimit = worst > clean ? value > limit : value < limit;
  const share = beyondLimit
    ? 0.5 + (0.5 * (value - limit)) / (worst - limit)
    : (0.5 * (value - clean)) / (limit - clean);
  return Math.min(1, Math.max(0, share));
}

/** Each reason is not asked for when one of these explains the picture already. */
const EXPLAINED_BY: Readonly<Record<QualityReason, readonly QualityReason[]>> = {
  damaged: [],
  dark: [],
  glare: [],
  fog: ['dark', 'damaged'],
  blur: ['dark', 'damaged', 'fog'],
  obstructed: ['dark', 'damaged', 'fog', 'blur'],
};
const REASONS: readonly QualityReason[] = ['damaged', 'dark', 'glare', 'fog', 'blur', 'obstructed'];

/**
 * The gate's verdict. `score01` is 1 less the largest severity: 1 is clean, 0.5 is where the gate closes, and a frame
 * has reasons exactly when its score is below 0.5.
 */
export function judge(signals: QualitySignals): QualityReport {
  const rate = (name: keyof typeof SCALES): number => severity01(signals[name] ?? 1, SCALES[name]);
  const severity = {
    glare: rate('glare01'),
    dark: rate('meanLuma'),
    blur: rate('sharpness01'),
    // Either alone is a calm sea or a soft picture; both together are fog.
    fog: Math.min(rate('laplacianVariance'), rate('blockStd')),
    obstructed: Math.max(rate('obstruction01'), rate('covered01')),
    damaged: rate('damage01'),
  };
  const reasons: QualityReason[] = [];
  for (const reason of REASONS) {
    if (severity[reason] > 0.5 && !EXPLAINED_BY[reason].some((other) => reasons.includes(other))) {
      reasons.push(reason);
    }
  }
  return { score01: 1 - Math.max(...Object.values(severity)), reasons, severity01: severity, signals };
}
