import { computed, signal } from '@preact/signals';
import type { CalibrationSummary } from '../../../../contract/observation.ts';
import type { LabelRecord } from '../../../../contract/openapi/views.ts';
import { agentNow, jsonBody, RequestProblem, requestJson } from '../../../shared/api.ts';
import type { Scale, Unit } from '../../../shared/preferences.ts';
import { applyCalibration } from '../../device-store.ts';
import { decideSave, type Reading } from './decide-save.ts';

/** A request that takes longer counts as lost; it may have arrived, and sending it again does no harm. */
const TIMEOUT_MS = 15_000;
const RETRY_MS = 3000;

/** What became of a reading. */
export type Outcome =
  | { readonly state: 'sending' | 'waiting' | 'undoing' | 'undone' | 'undo_failed' }
  /** `before`: the reading that it replaced. `stored`: as the agent has it. */
  | { readonly state: 'saved'; readonly before: LabelRecord | null; readonly stored: LabelRecord | null }
  /** Somebody else has read the frame meanwhile; that reading stays. */
  | { readonly state: 'theirs'; readonly theirs: LabelRecord }
  | { readonly state: 'refused'; readonly problem: RequestProblem };

/** The newest reading of this page and what became of it. */
export const newest = signal<{ readonly reading: Reading; readonly outcome: Outcome } | null>(null);
/** Readings of people of one camera, as the agent has them; null before they were read. */
export const labels = signal<{ readonly camera: string; readonly list: readonly LabelRecord[] } | null>(null);

const unsent = signal<readonly Reading[]>([]);
/** Readings that wait for the agent. */
export const unsentCount = computed(() => unsent.value.length);

const pathOf = (camera: string): string => `/api/v1/cameras/${encodeURIComponent(camera)}/labels`;
const withinTimeout = (init: RequestInit = {}): RequestInit => ({
  ...init,
  signal: AbortSignal.timeout(TIMEOUT_MS),
});

/** Reads the readings of a camera. Rejects as requests do. */
export async function readLabels(camera: string): Promise<readonly LabelRecord[]> {
  const { labels: list } = await requestJson<{ labels: readonly LabelRecord[] }>(
    pathOf(camera),
    withinTimeout(),
  );
  labels.value = { camera, list };
  return list;
}

/** Sends a reading; when the agent does not answer, again and again until it does. */
export function saveReading(reading: Reading): void {
  // A second tap on the same frame corrects the first.
  unsent.value = [...unsent.value.filter((one) => one.observationId !== reading.observationId), reading];
  newest.value = { reading, outcome: { state: 'sending' } };
  void sendAll();
}

/** Forgets a reading that waits for the agent. */
export function dropUnsent(reading: Reading): void {
  unsent.value = unsent.value.filter((one) => one !== reading);
  report(reading, { state: 'undone' });
}

function report(reading: Reading, outcome: Outcome): void {
  if (newest.value?.reading === reading) newest.value = { reading, outcome };
}

let isSending = false;
async function sendAll(): Promise<void> {
  if (isSending) return;
  isSending = true;
  for (let next = unsent.value[0]; next; next = unsent.value[0]) {
    const reading = next;
    const outcome = await send(reading).catch((thrown: unknown): Outcome => {
      const isRefused = thrown instanceof RequestProblem && thrown.status >= 400 && thrown.status < 500;
      // 401: the page asks for the token. 408, 429: too slow, too often.
      if (!isRefused || [401, 408, 429].includes(thrown.status)) return { state: 'waiting' };
      return { state: 'refused', problem: thrown };
    });
    report(reading, outcome);
    if (outcome.state !== 'waiting') unsent.value = unsent.value.filter((one) => one !== reading);
    else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  isSending = false;
}

async function send(reading: Reading): Promise<Outcome> {
  const { camera, observationId } = reading;
  const before = find(await readLabels(camera), observationId);
  const decision = decideSave(reading, before);
  if (decision === 'theirs' && before) return { state: 'theirs', theirs: before };
  if (decision === 'stored') return { state: 'saved', before: null, stored: before };
  const { value: height, unit, scale, observer } = reading;
  await post(camera, {
    observation_id: observationId,
    height,
    unit,
    scale,
    ...(observer === '' ? {} : { observer }),
  });
  const stored = find(await readLabels(camera).catch(() => []), observationId);
  return { state: 'saved', before, stored };
}

const find = (list: readonly LabelRecord[], observationId: string): LabelRecord | null =>
  list.find(({ observation_id: id }) => id === observationId) ?? null;

async function post(camera: string, label: object): Promise<void> {
  const { calibration } = await requestJson<{ calibration: CalibrationSummary }>(
    pathOf(camera),
    withinTimeout(jsonBody('POST', label)),
  );
  applyCalibration(camera, calibration);
}

/** Removes a reading. Rejects as requests do. */
export async function removeLabel({ camera, observation_id: id }: LabelRecord): Promise<void> {
  const { calibration } = await requestJson<{ calibration: CalibrationSummary }>(
    `${pathOf(camera)}?observation_id=${id}`,
    withinTimeout({ method: 'DELETE' }),
  );
  applyCalibration(camera, calibration);
  await readLabels(camera).catch(() => undefined);
}

/** Stores a removed reading again, as the person said it. Rejects as requests do. */
export async function restoreLabel(label: LabelRecord): Promise<void> {
  const { observation_id, observer, note, tide_m, height, unit, scale, height_m } = label;
  const said = height === null ? { height_m } : { height, unit, scale };
  const rest = Object.entries({ observer, note, tide_m, ...said }).filter(([, value]) => value !== null);
  await post(label.camera, { observation_id, ...Object.fromEntries(rest) });
  await readLabels(label.camera).catch(() => undefined);
}

/** Undoes the newest reading: the frame has the former reading again, or none. */
export async function undoNewest(): Promise<void> {
  const undone = newest.value;
  if (undone?.outcome.state !== 'saved') return;
  const { reading, outcome } = undone;
  const { before, stored } = outcome;
  report(reading, { state: 'undoing' });
  try {
    const now = find(await readLabels(reading.camera), reading.observationId);
    if (now !== null && stored !== null && now.created_at !== stored.created_at) {
      report(reading, { state: 'theirs', theirs: now });
      return;
    }
    if (now !== null) await (before === null ? removeLabel(now) : restoreLabel(before));
    report(reading, { state: 'undone' });
  } catch {
    report(reading, { state: 'undo_failed' });
  }
}

/** A reading of now. */
export function readingOf(
  frame: { readonly camera: string; readonly observationId: string; readonly capturedAt: string | null },
  said: { readonly value: number; readonly unit: Unit; readonly scale: Scale; readonly observer: string },
): Reading {
  return { ...frame, ...said, atMs: agentNow() };
}
