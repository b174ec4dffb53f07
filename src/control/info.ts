import { isDeepStrictEqual } from 'node:util';
import { isoTime, type Clock } from '../base/clock.ts';
import { systemTimeZone } from '../base/time-zone.ts';
import { computeConfigDigest } from '../config/redact.ts';
import { COMMAND_ARGS } from '../contract/command.ts';
import { identifiedSchemas } from '../contract/emit-schemas.ts';
import type { Info } from '../contract/states.ts';
import type { DiscoveryInput } from '../mqtt/discovery/entities.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { SeaStateReports } from '../observation/sea-state-reports.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';
import type { AgentIdentity, AgentState } from './agent-types.ts';

const SCHEMAS = [...identifiedSchemas().keys()].sort();

export interface AgentInfoDeps {
  readonly clock: Clock;
  readonly state: AgentState;
  readonly server: Pick<ModelServer, 'report' | 'model' | 'bundle'>;
  readonly cameras: Pick<CameraSet, 'list'>;
  readonly seaStates: Pick<SeaStateReports, 'maxAgeS'>;
}

/** What the device is and can do, for the retained topic `…/info` and for discovery. */
export class AgentInfo {
  readonly #identity: AgentIdentity;
  readonly #deps: AgentInfoDeps;
  #last: Info | null = null;

  constructor(identity: AgentIdentity, deps: AgentInfoDeps) {
    this.#identity = identity;
    this.#deps = deps;
  }

  /** The same object as long as nothing but the time changed. */
  describe(): Info {
    const now = this.#describeNow();
    const { at } = this.#last ?? now;
    if (this.#last === null || !isDeepStrictEqual({ ...now, at }, this.#last)) this.#last = now;
    return this.#last;
  }

  #describeNow(): Info {
    const { site, device, version, session, bootId } = this.#identity;
    const { clock, state, server, cameras } = this.#deps;
    const { settings, hardware } = state;
    return {
      schema: 'swellsight.info/1',
      site,
      device,
      session,
      boot_id: bootId,
      at: isoTime(clock.nowMs()),
      agent_version: version,
      node_version: process.versions.node,
      time_zone: systemTimeZone(),
      hardware: describeHardware(hardware),
      providers: (server.report?.attempts ?? []).map(({ provider, outcome, threads, medianMs, reason }) => ({
        provider,
        outcome,
        threads,
        median_ms: medianMs === null ? null : Number(medianMs.toFixed(2)),
        reason,
      })),
      cameras: cameras.list().map((camera) => ({
        id: camera.id,
        kind: camera.settings.kind,
        schedule: camera.schedule.description,
        time_zone: camera.settings.schedule.timezone ?? systemTimeZone(),
        calibration_labels: camera.calibrationSummary().labels,
        location: camera.settings.location,
      })),
      model: server.model,
      capabilities: {
        commands: Object.keys(COMMAND_ARGS),
        heads: Object.keys(server.bundle?.manifest.heads ?? {}),
      },
      config_digest: computeConfigDigest(settings),
      schemas: SCHEMAS,
    };
  }

  describeForDiscovery(): DiscoveryInput {
    const { site, device, version } = this.#identity;
    const { settings, hardware, pageUrl } = this.#deps.state;
    const cameras = this.#deps.cameras.list();
    return {
      site,
      device,
      version,
      model: hardware?.model ?? null,
      cameras: cameras.map(({ id }) => id),
      clips: Object.fromEntries(
        cameras.flatMap(({ id, settings: { seaState, geometry } }) =>
          seaState
            ? [[id, { maxAgeS: this.#deps.seaStates.maxAgeS(id), hasGeometry: geometry !== null }]]
            : [],
        ),
      ),
      commands: Object.keys(COMMAND_ARGS),
      heartbeatIntervalS: settings.heartbeat.intervalS,
      pageUrl,
    };
  }
}

/** `unknown` and zeros until the inventory of the machine is complete. */
const describeHardware = (hardware: Hardware | null): Info['hardware'] => ({
  kind: hardware?.kind ?? 'unknown',
  arch: hardware?.arch ?? process.arch,
  model: hardware?.model ?? null,
  cpu: hardware?.cpu ?? null,
  cores: hardware?.cores ?? 1,
  memory_mb: hardware?.memoryMb ?? 0,
  accelerators: [...(hardware?.accelerators ?? [])],
  os: hardware?.os ?? null,
  board: hardware?.board.id ?? null,
  module: hardware?.board.module ?? null,
  soc: hardware?.board.soc ?? null,
  l4t: hardware?.board.l4t ?? null,
  jetpack: hardware?.board.jetpack ?? null,
  compute_capability: hardware?.board.computeCapability ?? null,
  page_size_bytes: hardware?.pageSizeBytes ?? null,
});
