import { severityOf } from '../../contract/conditions.ts';
import type { FleetCamera } from './device-cameras.ts';
import type { FleetDevice } from './device.ts';
import type { Row } from './device-table.ts';

/** Which rows are shown, and in which order. */
export interface Selection {
  readonly search: string;
  /** Empty: all. */
  readonly conditions: readonly string[];
  readonly site: string | null;
  readonly tag: string | null;
  readonly sort: string;
  readonly isReversed: boolean;
}

/** The columns that sort, and the value of a row; null values come last. */
const SORT_KEYS: Readonly<Record<string, (row: Row, nowMs: number) => number | string | null>> = {
  device: ({ device }) => device.name,
  height: ({ device }, nowMs) => {
    const height = mainCamera(device, nowMs)?.observation?.heightM ?? null;
    return height === null ? null : -height;
  },
  period: ({ device }, nowMs) => {
    const period = mainCamera(device, nowMs)?.observation?.periodS ?? null;
    return period === null ? null : -period;
  },
  frame: ({ device }, nowMs) => oldestFrameMs(device, nowMs),
  heartbeat: ({ device }) => device.heartbeatMs,
  model: ({ device }) => (device.model === null ? null : `${device.model.name} ${device.model.version}`),
  agent: ({ device }) => device.agentVersion,
  queue: ({ device }) => -(device.heartbeat?.queueDepth ?? 0),
  disk: ({ device }) => negative(device.heartbeat?.diskUsedPct ?? null),
  temperature: ({ device }) => negative(device.heartbeat?.temperatureC ?? null),
};

const negative = (value: number | null): number | null => (value === null ? null : -value);

/** The camera whose numbers stand in the row: the one with the newest height, else the first. */
export function mainCamera(device: FleetDevice, nowMs: number): FleetCamera | null {
  const cameras = device.cameras(nowMs);
  const withHeight = cameras.filter(({ observation }) => observation?.heightM != null);
  const [newest] = withHeight.sort((a, b) => (b.observedMs ?? 0) - (a.observedMs ?? 0));
  return newest ?? cameras[0] ?? null;
}

export function oldestFrameMs(device: FleetDevice, nowMs: number): number | null {
  const times = device.cameras(nowMs).map(({ lastFrameMs }) => lastFrameMs);
  const known = times.filter((ms) => ms !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** The rows come worst first, and keep this order among equals. */
export function selectRows(
  rows: readonly Row[],
  selection: Selection,
  nowMs: number,
  tagsOf: (device: string) => readonly string[],
): readonly Row[] {
  const { conditions, site, tag, sort, isReversed } = selection;
  const words = selection.search.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = rows.filter(
    (row) =>
      (conditions.length === 0 || conditions.includes(row.condition)) &&
      (site === null || row.device.site === site) &&
      (tag === null || tagsOf(row.device.name).includes(tag)) &&
      (words.length === 0 || matches(row, words, tagsOf)),
  );
  const keyOf = Object.hasOwn(SORT_KEYS, sort) ? SORT_KEYS[sort] : undefined;
  const direction = isReversed ? -1 : 1;
  if (!keyOf)
    return isReversed ? shown.sort((a, b) => severityOf(b.condition) - severityOf(a.condition)) : shown;
  return shown
    .map((row) => ({ row, key: keyOf(row, nowMs) }))
    .sort((a, b) => {
      if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null);
      return a.key === b.key ? 0 : (a.key < b.key ? -1 : 1) * direction;
    })
    .map(({ row }) => row);
}

function matches(
  { device, condition }: Row,
  words: readonly string[],
  tagsOf: (device: string) => readonly string[],
): boolean {
  const { heartbeat, model, agentVersion, info } = device;
  const text = [
    device.name,
    condition,
    model?.name,
    model?.version,
    agentVersion,
    info?.board,
    ...tagsOf(device.name),
    ...(heartbeat?.degraded ?? []),
  ]
    .join(' ')
    .toLowerCase();
  return words.every((word) => text.includes(word));
}
