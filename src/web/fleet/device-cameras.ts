import { cameraStanding, type CameraFacts, type CameraStanding } from '../../contract/conditions.ts';
import type { CameraCondition } from '../../contract/health.ts';
import type { CameraStatePart, ObservationPart } from './camera-parts.ts';
import type { Heartbeat, InfoPart, Location } from './device-parts.ts';

/** A part of a message, and when it came. */
export interface Heard<T> {
  readonly part: T;
  /** By the clock of this page. */
  readonly heardMs: number;
  readonly retained: boolean;
}

/** The messages of one camera. */
export interface HeardCamera {
  readonly state: Heard<CameraStatePart> | null;
  readonly latest: Heard<ObservationPart> | null;
}

/** What is known of one camera. Times are by the clock of this page. */
export interface FleetCamera {
  readonly id: string;
  readonly state: CameraCondition | null;
  readonly reason: string | null;
  readonly standing: CameraStanding;
  readonly lastFrameMs: number | null;
  readonly dueMs: number | null;
  readonly kind: string | null;
  readonly location: Location | null;
  readonly observation: ObservationPart | null;
  readonly observedMs: number | null;
}

/** The messages of a device from which the state of its cameras is computed. */
export interface CameraSources {
  readonly heard: ReadonlyMap<string, HeardCamera>;
  readonly heartbeat: Heard<Heartbeat> | null;
  /** When the heartbeat was sent. */
  readonly heartbeatMs: number | null;
  readonly info: InfoPart | null;
  readonly validMs: number;
  readonly toOurTime: (deviceMs: number) => number;
}

export function describeCameras(sources: CameraSources, nowMs: number): readonly FleetCamera[] {
  const { heard, heartbeat, heartbeatMs, info, validMs, toOurTime } = sources;
  return listIds(sources)
    .sort()
    .map((id) => {
      const slot = heartbeat?.part.cameras.find((camera) => camera.id === id);
      const fact = info?.cameras.find((camera) => camera.id === id);
      const { state = null, latest = null } = heard.get(id) ?? {};
      const facts = factsOf(id, sources);
      const ageS = slot?.lastFrameAgeS ?? null;
      return {
        id,
        ...facts,
        reason: state?.part.reason ?? null,
        standing: cameraStanding(facts, validMs, nowMs),
        lastFrameMs: ageS === null || heartbeatMs === null ? null : heartbeatMs - 1000 * ageS,
        kind: fact?.kind ?? null,
        location: fact?.location ?? null,
        observation: latest?.part ?? null,
        observedMs: latest === null ? null : observedMs(latest, toOurTime),
      };
    });
}

export const listCameraFacts = (sources: CameraSources): readonly CameraFacts[] =>
  listIds(sources).map((id) => factsOf(id, sources));

const listIds = ({ heard, heartbeat }: CameraSources): string[] => [
  ...new Set([...heard.keys(), ...(heartbeat?.part.cameras ?? []).map(({ id }) => id)]),
];

function factsOf(id: string, { heard, heartbeat }: CameraSources): CameraFacts {
  const slot = heartbeat?.part.cameras.find((camera) => camera.id === id);
  const untilSlotMs = slot?.untilSlotMs ?? null;
  return {
    state: heard.get(id)?.state?.part.state ?? slot?.state ?? null,
    // Both times of the difference are by the clock of the device.
    dueMs: heartbeat === null || untilSlotMs === null ? null : heartbeat.heardMs + untilSlotMs,
  };
}

function observedMs(
  { part, heardMs, retained }: Heard<ObservationPart>,
  toOurTime: (deviceMs: number) => number,
): number | null {
  if (part.capturedMs === null) return retained ? null : heardMs;
  return Math.min(heardMs, toOurTime(part.capturedMs));
}
