import { useEffect, useRef, useState } from 'preact/hooks';
import type { Series } from '../../../contract/history.ts';
import { agentNow, requestJson, RequestProblem } from '../../shared/api.ts';
import { camera as shownCamera } from '../device-store.ts';
import { addObservation } from './timeline.ts';

const DAY_MS = 86_400_000;
/** Steps of 5 minutes, 30 minutes and 2 hours. */
const POINTS: Readonly<Record<string, number>> = { 1: 288, 7: 336, 30: 360 };
/** The values of the present step are approximate until they are read again. */
const MIN_REFRESH_MS = 30_000;

export interface ShownSeries {
  readonly series: Series;
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * The series of the last days of a camera. New records extend it at once; now and then it is read again, and whenever `version`
 * changes.
 */
export function useSeries(
  camera: string,
  days: string,
  version: unknown,
): { readonly shown: ShownSeries | null; readonly problem: RequestProblem | null } {
  const [shown, setShown] = useState<(ShownSeries & { readonly key: string }) | null>(null);
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  const key = `${camera} ${days}`;
  const refreshMs = useRef(MIN_REFRESH_MS);

  useEffect(() => {
    const stop = new AbortController();
    const read = async (): Promise<void> => {
      const toMs = Math.ceil(agentNow());
      const fromMs = toMs - Number(days) * DAY_MS;
      const query = new URLSearchParams({
        from: new Date(fromMs).toISOString(),
        to: new Date(toMs).toISOString(),
        points: String(POINTS[days]),
      });
      const path = `/api/v1/cameras/${encodeURIComponent(camera)}/series?${query.toString()}`;
      try {
        const series = await requestJson<Series>(path, { signal: stop.signal });
        refreshMs.current = Math.max(MIN_REFRESH_MS, series.bucket_s * 100);
        setShown({ series, fromMs, toMs, key });
        setProblem(null);
      } catch (thrown) {
        if (stop.signal.aborted) return;
        if (!(thrown instanceof RequestProblem)) throw thrown;
        setProblem(thrown);
      }
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const readAgain = (): void => {
      clearTimeout(timer);
      if (document.visibilityState === 'hidden') return;
      void read().finally(() => {
        if (!stop.signal.aborted) timer = setTimeout(readAgain, refreshMs.current);
      });
    };
    readAgain();
    document.addEventListener('visibilitychange', readAgain, { signal: stop.signal });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, version]);

  const latest = shownCamera.value?.latest ?? null;
  useEffect(() => {
    if (latest === null) return;
    setShown((before) => {
      if (before === null || before.key !== key) return before;
      const series = addObservation(before.series, latest);
      if (series === before.series) return before;
      const toMs = Math.max(before.toMs, Date.parse(latest.captured_at));
      return { series, toMs, fromMs: toMs - Number(days) * DAY_MS, key };
    });
  }, [latest?.id]);

  return { shown: shown?.key === key ? shown : null, problem };
}
