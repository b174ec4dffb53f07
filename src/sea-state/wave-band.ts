/** The longest and the shortest period of sea waves, seconds. */
export const MAX_PERIOD_S = 25;
export const MIN_PERIOD_S = 3;

/** Indices of the frequencies from 1/25 to 1/3 Hz. */
export function waveBand(frequenciesHz: Float64Array): { readonly first: number; readonly last: number } {
  const first = frequenciesHz.findIndex((frequency) => frequency >= 1 / MAX_PERIOD_S);
  const last = frequenciesHz.findLastIndex((frequency) => frequency <= 1 / MIN_PERIOD_S);
  return { first, last };
}
