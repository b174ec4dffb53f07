import { randomUUID } from 'node:crypto';
import { isoTime, type Clock } from '../../src/base/clock.ts';
import { REASONS, type ModelRef, type Observation } from '../../src/contract/observation.ts';
import type { Health } from '../../src/contract/health.ts';
import type { CameraState, Info, ModelState } from '../../src/contract/states.ts';
import type { LinkStats } from '../../src/mqtt/types.ts';
import { NO_WAVE } from '../../src/observation/record.ts';
import type { ObservationDraft, OutboxStats } from '../../src/store/types.ts';
import { COMMAND_ARGS } from '../../src/contract/command.ts';

/** The identity of a simulated device. */
export interface Identity {
  readonly site: string;
  readonly device: string;
  readonly camera: string;
  readonly session: string;
  readonly bootId: string;
}

const VERSION = 'fleet-simulator';
const MODEL: ModelRef = { name: 'swellsight-factory', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` };
/** Share of slots whose frame the quality gate rejects, and of slots whose camera fails. */
const REJECTED_SHARE = 0.05;
const FAILED_SHARE = 0.01;

/** The sea at one device: a slow random walk of the wave height between 0.2 and 4 m. */
export class SimulatedSea {
  readonly #random: () => number;
  readonly #periodS: number | null;
  #heightM: number;

  /** `usual`: the height at the start differs from it by a third at most. Without it, there is no period. */
  constructor(random: () => number, usual?: { readonly heightM: number; readonly periodS: number }) {
    this.#random = random;
    this.#heightM = usual ? usual.heightM * (0.67 + 0.67 * random()) : 0.4 + 1.6 * random();
    this.#periodS = usual ? usual.periodS + random() * 2 - 1 : null;
  }

  /** One record of the present sea, without a sequence number. */
  makeRecord(identity: Identity, clock: Clock): ObservationDraft {
    const chance = this.#random();
    this.#heightM = Math.min(4, Math.max(0.2, this.#heightM + (this.#random() - 0.5) * 0.1));
    const status =
      chance < FAILED_SHARE ? 'failed' : chance < FAILED_SHARE + REJECTED_SHARE ? 'rejected' : 'measured';
    const reason = REASONS.find((code) => code === (status === 'failed' ? 'camera_timeout' : 'glare'));
    const height = round(this.#heightM, 2);
    const { site, device, camera, bootId } = identity;
    return {
      schema: 'swellsight.observation/1',
      id: randomUUID(),
      site,
      device,
      camera,
      boot_id: bootId,
      captured_at: isoTime(clock.nowMs()),
      mono_ms: Math.round(clock.monoMs()),
      clock: { synced: true, offset_ms: 0 },
      status,
      reasons: status === 'measured' || !reason ? [] : [reason],
      burst: { requested: 1, used: status === 'measured' ? 1 : 0, span_s: status === 'failed' ? null : 0 },
      wave:
        status === 'measured'
          ? {
              ...NO_WAVE,
              height_m: height,
              height_ft: round(height / 0.3048, 2),
              height_low_m: round(Math.max(0, height - 0.3), 2),
              height_high_m: round(height + 0.3, 2),
              interval_coverage: 0.8,
              height_basis: 'site_calibrated',
              confidence: { height: 0.8, direction: null, breaking: null, overall: 0.8 },
              extreme: height >= 4,
              ...periodFields(this.#periodS),
            }
          : NO_WAVE,
      calibration: { labels: 20, labels_wanted: 0, loo_mae_m: 0.23, loo_median_mae_m: 0.25, view: 'same' },
      quality: {
        score: status === 'failed' ? null : 1,
        glare: status === 'failed' ? null : status === 'rejected' ? 0.8 : 0,
        dark: status === 'failed' ? null : 0,
        blur: status === 'failed' ? null : 0,
        fog: status === 'failed' ? null : 0,
        obstruction: status === 'failed' ? null : 0,
        frozen: null,
        moved: null,
      },
      model: MODEL,
      provider: 'cpu',
      timing_ms: { capture: 300, decode: 12, preprocess: 2, inference: 8, total: 322 },
      warnings: [],
    };
  }
}

function periodFields(periodS: number | null): Partial<Observation['wave']> {
  if (periodS === null) return {};
  return {
    period_s: round(periodS, 1),
    period_low_s: round(periodS - 0.8, 1),
    period_high_s: round(periodS + 0.9, 1),
    period_basis: 'video_spectrum',
    period_age_s: 600,
  };
}

export function makeHealth(
  identity: Identity,
  state: { seq: number; startedMonoMs: number; link: LinkStats; outbox: OutboxStats; everyS: number },
  clock: Clock,
): Health {
  const { link, outbox } = state;
  return {
    schema: 'swellsight.health/1',
    boot_id: identity.bootId,
    seq: state.seq,
    at: isoTime(clock.nowMs()),
    uptime_s: round((clock.monoMs() - state.startedMonoMs) / 1000, 0),
    agent_version: VERSION,
    cpu: { load1: 0.1, temp_c: 48, throttled: false },
    memory: { rss_mb: 105, vision_rss_mb: 140, free_mb: 2000 },
    disk: { free_mb: 20_000, used_pct: 30, written_mb_day: 160 },
    clock: { synced: true, offset_ms: 0 },
    link: {
      connected_since: link.connectedSinceMs === null ? null : isoTime(link.connectedSinceMs),
      reconnects_1h: link.reconnects1h,
      rtt_ms: link.rttMs,
      broker: link.broker,
    },
    cameras: [
      {
        id: identity.camera,
        state: 'up',
        last_frame_age_s: 1,
        failures_1h: 0,
        next_run_at: isoTime(clock.nowMs() + state.everyS * 1000),
      },
    ],
    inference: { provider: 'cpu', p50_ms: 25, p95_ms: 40, failures_1h: 0, restarts: 0 },
    model: { name: MODEL.name, version: MODEL.version, digest: MODEL.digest, phase: 'committed' },
    outbox: {
      depth: outbox.depth,
      oldest_age_s: outbox.oldestAgeS,
      dropped_total: outbox.droppedTotal,
    },
    degraded: [],
  };
}

export function makeInfo(identity: Identity, everyS: number, clock: Clock): Info {
  const { site, device, session, bootId, camera } = identity;
  return {
    schema: 'swellsight.info/1',
    site,
    device,
    session,
    boot_id: bootId,
    at: isoTime(clock.nowMs()),
    agent_version: VERSION,
    node_version: process.versions.node,
    time_zone: 'UTC',
    hardware: {
      kind: 'simulated',
      arch: process.arch,
      model: null,
      cpu: null,
      cores: 4,
      memory_mb: 4096,
      accelerators: [],
      os: null,
    },
    providers: [{ provider: 'cpu', outcome: 'chosen', threads: 1, median_ms: 8, reason: null }],
    cameras: [
      {
        id: camera,
        kind: 'simulated',
        schedule: `every ${everyS} s`,
        time_zone: 'UTC',
        calibration_labels: 20,
      },
    ],
    model: MODEL,
    capabilities: { commands: Object.keys(COMMAND_ARGS), heads: ['embedding'] },
    config_digest: 'sha256:simulated',
    schemas: [],
  };
}

export function makeCameraState(identity: Identity, sinceMs: number): CameraState {
  return {
    schema: 'swellsight.camera_state/1',
    camera: identity.camera,
    state: 'up',
    reason: null,
    since: isoTime(sinceMs),
    last_frame_age_s: 0,
  };
}

export const MODEL_STATE: ModelState = {
  schema: 'swellsight.model_state/1',
  active: MODEL,
  candidate: null,
  previous: null,
  phase: 'committed',
  slots: { factory: MODEL, previous: null, active: MODEL, candidate: null },
};

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
