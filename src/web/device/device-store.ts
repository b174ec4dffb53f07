import { batch, computed, signal } from '@preact/signals';
import type { AgentVersions } from '../../contract/agent-update.ts';
import type { Health } from '../../contract/health.ts';
import type { CalibrationSummary, Observation } from '../../contract/observation.ts';
import type { AgentStatus, CameraView } from '../../contract/openapi/views.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import type { CameraState, Event, ModelState } from '../../contract/states.ts';
import { agentNow, RequestProblem, requestJson, tokenWanted } from '../shared/api.ts';
import { ageS } from '../shared/ages.ts';
import { followEvents, type ServerEvent } from '../shared/event-stream.ts';
import { replaceParams, route } from '../shared/route.ts';

/** Events that the page keeps; the view of the agent reads older ones from the agent. */
const MAX_EVENTS = 100;
/** Heartbeats without which the data count as old. */
const MISSED_HEARTBEATS = 3;
const USUAL_HEARTBEAT_S = 30;

/** Everything that the page knows of the agent; the event stream keeps it up to date. */
export const status = signal<AgentStatus | null>(null);
export const cameras = signal<readonly CameraView[]>([]);
export const health = signal<Health | null>(null);
export const model = signal<ModelState | null>(null);
export const agentVersions = signal<AgentVersions | null>(null);
/** Payload of the newest progress message of a model install, and of an update of the agent. */
export const modelProgress = signal<unknown>(null);
export const agentProgress = signal<unknown>(null);
/** Newest first. */
export const events = signal<readonly Event[]>([]);
/** Counts new records of any camera: views that read the history read it again. */
export const recordTick = signal(0);
export const problem = signal<RequestProblem | null>(null);

/** When data last arrived, by the clock of the agent, ms; null before the first. */
const lastDataMs = signal<number | null>(null);
const isConnected = signal(false);
const heartbeatS = signal(USUAL_HEARTBEAT_S);

export type Liveness = 'connecting' | 'live' | 'stale';
/** Follows the arrival of data and not the connection: a connection may be open and say nothing. */
export const liveness = computed<Liveness>(() => {
  if (lastDataMs.value === null) return 'connecting';
  return dataAgeS.value > MISSED_HEARTBEATS * heartbeatS.value ? 'stale' : 'live';
});
/** Seconds since data last arrived. */
export const dataAgeS = computed(() => (lastDataMs.value === null ? Infinity : ageS(lastDataMs.value)));
/** The connection is lost; the page tries to connect. */
export const isDisconnected = computed(() => lastDataMs.value !== null && !isConnected.value);

/** The camera that the address names, or the first one. */
export const camera = computed<CameraView | null>(() => {
  const wanted = route.value.params.get('camera');
  return cameras.value.find(({ id }) => id === wanted) ?? cameras.value[0] ?? null;
});
export const selectCamera = (id: string): void => replaceParams({ camera: id });
/** IANA name of the zone of the camera's schedule: times of the page are in it. */
export const timeZone = computed(
  () =>
    status.value?.info.cameras.find(({ id }) => id === camera.value?.id)?.time_zone ??
    status.value?.info.time_zone ??
    'UTC',
);

/** Reads the state of the agent, then follows its events until the signal fires. */
export async function followAgent(signal: AbortSignal): Promise<void> {
  await followEvents(
    '/api/v1/events',
    {
      opened: () => {
        isConnected.value = true;
        void readStatus(signal);
      },
      received: apply,
      lost: (reason) => {
        isConnected.value = false;
        if (reason instanceof RequestProblem) problem.value = reason;
      },
    },
    signal,
  );
}

/** Reads what the event stream does not send: settings of cameras, and records from before the connection. */
export async function readStatus(signal?: AbortSignal): Promise<void> {
  const init = signal ? { signal } : {};
  const number = (reads += 1);
  try {
    const [read, list] = await Promise.all([
      requestJson<AgentStatus>('/api/v1/status', init),
      requestJson<{ cameras: readonly CameraView[] }>('/api/v1/cameras', init),
    ]);
    batch(() => {
      status.value = read;
      health.value = read.health;
      model.value = read.model;
      if (number === reads) cameras.value = list.cameras.map(withNewest);
      problem.value = null;
      noteData();
    });
  } catch (thrown) {
    if (thrown instanceof RequestProblem) problem.value = thrown;
    else if (!signal?.aborted) throw thrown;
  }
}

/** Counts readings of the list: an answer that a later one has overtaken is old. */
let reads = 0;

/** A record that arrived while the list was on its way is newer than the one in the list. */
function withNewest(view: CameraView): CameraView {
  const latest = cameras.peek().find(({ id }) => id === view.id)?.latest ?? null;
  return latest !== null && view.latest !== null && latest.captured_at > view.latest.captured_at
    ? { ...view, latest }
    : view;
}

/** Reads the cameras again: the event stream has neither their settings, nor why they fail, nor the truth of simulated ones. */
export async function readCameras(): Promise<void> {
  const number = (reads += 1);
  try {
    const list = await requestJson<{ cameras: readonly CameraView[] }>('/api/v1/cameras');
    if (number === reads) cameras.value = list.cameras.map(withNewest);
  } catch {
    // The mark of the page says that the connection is lost.
  }
}

function noteData(): void {
  lastDataMs.value = agentNow();
}

/** The agent validates what it publishes against these types, so that the casts below hold. */
function apply({ name, data }: ServerEvent): void {
  batch(() => {
    noteData();
    if (name === 'health') applyHealth(data as Health);
    else if (name === 'model') model.value = data as ModelState;
    else if (name === 'agent') agentVersions.value = data as AgentVersions;
    else if (name === 'progress') modelProgress.value = data;
    else if (name === 'agent_progress') agentProgress.value = data;
    else if (name === 'camera') applyCameraState(data as CameraState);
    else if (name === 'observation') applyObservation(data as Observation);
    else if (name === 'sea_state') applySeaState(data as SeaStateRecord);
    else if (name === 'event') events.value = [data as Event, ...events.value].slice(0, MAX_EVENTS);
    else if (name === 'gap') recordTick.value += 1;
  });
}

/** The interval of heartbeats is a setting of the agent: two that follow each other show it. */
function applyHealth(next: Health): void {
  const before = health.value;
  if (before?.boot_id === next.boot_id && next.seq === before.seq + 1)
    heartbeatS.value = Math.max(USUAL_HEARTBEAT_S, (Date.parse(next.at) - Date.parse(before.at)) / 1000);
  health.value = next;
}

function changeCamera(id: string, change: (view: CameraView) => CameraView): void {
  cameras.value = cameras.value.map((view) => (view.id === id ? change(view) : view));
}

function applyCameraState(state: CameraState): void {
  const known = cameras.value.find(({ id }) => id === state.camera);
  // A new camera, or another state: the list has the settings and the failure.
  if (cameras.value.length > 0 && known?.state.state !== state.state) void readCameras();
  changeCamera(state.camera, (view) => ({ ...view, state }));
}

function applyObservation(record: Observation): void {
  recordTick.value += 1;
  changeCamera(record.camera, (view) =>
    view.latest !== null && view.latest.captured_at > record.captured_at
      ? view
      : { ...view, latest: record, calibration: record.calibration },
  );
  if (record.simulated === true) void readCameras();
}

/** The answer to a reading has the new state of the calibration. */
export function applyCalibration(camera: string, calibration: CalibrationSummary): void {
  changeCamera(camera, (view) => ({ ...view, calibration }));
  // The list may be on its way with the former state.
  void readCameras();
}

function applySeaState(record: SeaStateRecord): void {
  changeCamera(record.camera, (view) => ({ ...view, sea_state: record }));
}

/** The agent wants a token, or refused the one it got. */
export const isLocked = computed(() => tokenWanted.value);
