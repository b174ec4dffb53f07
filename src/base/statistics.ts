/** The arithmetic mean; null for no values. */
export function mean(values: ArrayLike<number>): number | null {
  if (values.length === 0) return null;
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += values[i] ?? 0;
  return sum / values.length;
}

/** The mean with one weight for each value; null without values. */
export function weightedMean(values: readonly number[], weights: readonly number[]): number | null {
  const sum = values.reduce((total, value, index) => total + value * (weights[index] ?? 0), 0);
  const totalWeight = weights.reduce((total, weight) => total + weight, 0);
  return totalWeight === 0 ? null : sum / totalWeight;
}

/** The middle value, or the mean of the two middle values; null for no values. */
export function median(values: ArrayLike<number>): number | null {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return mean(sorted.subarray(sorted.length % 2 === 1 ? middle : Math.max(0, middle - 1), middle + 1));
}
