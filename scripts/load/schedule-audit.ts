interface ListedObservation {
  readonly id: string;
  readonly seq: number;
  readonly captured_at: string;
}

export interface ScheduleAudit {
  readonly observations: number;
  /** Sequence numbers missing between the first and the last record. */
  readonly lost: readonly number[];
  /** The longest time between two records, s. */
  readonly longestGapS: number;
}

/** Reads the records of a camera since a time, and looks for missing sequence numbers and gaps in time. */
export async function auditSchedule(port: number, camera: string, sinceMs: number): Promise<ScheduleAudit> {
  const records: ListedObservation[] = [];
  const from = encodeURIComponent(new Date(sinceMs).toISOString());
  for (let cursor: string | null = null; ;) {
    const page = `camera=${camera}&from=${from}&limit=500${cursor === null ? '' : `&cursor=${cursor}`}`;
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/observations?${page}`);
    if (!response.ok) throw new Error(`cannot read the observations: ${response.status}`);
    const found = (await response.json()) as {
      readonly observations: readonly ListedObservation[];
      readonly cursor: string | null;
    };
    records.push(...found.observations);
    cursor = found.cursor;
    if (cursor === null) break;
  }
  records.sort((a, b) => a.seq - b.seq);
  const seen = new Set(records.map(({ seq }) => seq));
  const [first, last] = [records.at(0)?.seq ?? 0, records.at(-1)?.seq ?? -1];
  const lost = Array.from({ length: last - first + 1 }, (_, at) => first + at).filter(
    (seq) => !seen.has(seq),
  );
  const times = records.map(({ captured_at }) => Date.parse(captured_at)).sort((a, b) => a - b);
  const gaps = times.slice(1).map((ms, at) => ms - (times[at] ?? ms));
  return { observations: records.length, lost, longestGapS: Math.max(0, ...gaps) / 1000 };
}
