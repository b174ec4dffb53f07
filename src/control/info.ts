import type { Settings } from '../config/schema.ts';
import { COMMAND_ARGS } from '../contract/command.ts';
import { identifiedSchemas } from '../contract/emit-schemas.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { Info } from '../contract/states.ts';
import { isoTime } from '../base/clock.ts';
import type { Bundle } from '../model/manifest.ts';
import type { CameraRunner } from '../observation/camera-runner.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';
import type { ProviderReport } from '../vision/protocol.ts';

const SCHEMAS = [...identifiedSchemas().keys()].sort();

export interface InfoInput {
  readonly settings: Settings;
  readonly version: string;
  readonly session: string;
  readonly bootId: string;
  readonly nowMs: number;
  /** Null until the machine has been looked at. */
  readonly hardware: Hardware | null;
  readonly report: ProviderReport | null;
  readonly model: ModelRef | null;
  readonly bundle: Bundle | null;
  readonly runners: readonly CameraRunner[];
  readonly configDigest: string;
}

/** What the device is and can do: the retained `…/info`. */
export function describeAgent(input: InfoInput): Info {
  const { settings, hardware, report, bundle } = input;
  return {
    schema: 'swellsight.info/1',
    site: settings.site,
    device: settings.device,
    session: input.session,
    boot_id: input.bootId,
    at: isoTime(input.nowMs),
    agent_version: input.version,
    node_version: process.versions.node,
    hardware: {
      kind: hardware?.kind ?? 'unknown',
      arch: hardware?.arch ?? process.arch,
      model: hardware?.model ?? null,
      cpu: hardware?.cpu ?? null,
      cores: hardware?.cores ?? 1,
      memory_mb: hardware?.memoryMb ?? 0,
      accelerators: [...(hardware?.accelerators ?? [])],
      os: hardware?.os ?? null,
    },
    providers: (report?.attempts ?? []).map(({ provider, outcome, threads, medianMs, reason }) => ({
      provider,
      outcome,
      threads,
      median_ms: medianMs === null ? null : Number(medianMs.toFixed(2)),
      reason,
    })),
    cameras: input.runners.map((runner) => ({
      id: runner.id,
      kind: runner.settings.kind,
      schedule: runner.schedule.description,
      calibration_labels: runner.calibrationSummary().labels,
    })),
    model: input.model,
    capabilities: { commands: Object.keys(COMMAND_ARGS), heads: Object.keys(bundle?.manifest.heads ?? {}) },
    config_digest: input.configDigest,
    schemas: SCHEMAS,
  };
}
