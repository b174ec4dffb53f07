/** One line of the performance table: a figure and its reference, both from this run. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  /** Median of ours. */
  readonly value: number;
  /** Median of the reference, in the same unit; null where the budget is the reference. */
  readonly reference: number | null;
  readonly referenceName: string;
  /** Median of value / reference, pair by pair where runs were paired. */
  readonly ratio: number | null;
  /** 10th and 90th percentile of the ratio, or of the value where there is no reference. */
  readonly spread: readonly [number, number];
  readonly samples: number;
  readonly budget: string;
  readonly within: boolean | null;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? low;
  return low + (high - low) * (position - Math.floor(position));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** A row from paired runs of the agent and the reference. A rate has a minimum ratio (`at_least`). */
export function pairedRow(
  name: string,
  unit: string,
  pairs: readonly (readonly [ours: number, reference: number])[],
  referenceName: string,
  budgetRatio: number | null,
  wanted: 'at_most' | 'at_least' = 'at_most',
): Row {
  const ratios = pairs.map(([ours, reference]) => ours / reference);
  const ratio = median(ratios);
  return {
    name,
    unit,
    value: median(pairs.map(([ours]) => ours)),
    reference: median(pairs.map(([, reference]) => reference)),
    referenceName,
    ratio,
    spread: [quantile(ratios, 0.1), quantile(ratios, 0.9)],
    samples: pairs.length,
    budget: budgetRatio === null ? '' : `ratio ${wanted === 'at_most' ? '<=' : '>='} ${budgetRatio}`,
    within: budgetRatio === null ? null : wanted === 'at_most' ? ratio <= budgetRatio : ratio >= budgetRatio,
  };
}

/** A row whose reference is a fixed budget. */
export function budgetRow(name: string, unit: string, values: readonly number[], limit: number | null): Row {
  const value = median(values);
  return {
    name,
    unit,
    value,
    reference: limit,
    referenceName: 'budget',
    ratio: limit === null ? null : value / limit,
    spread: [quantile(values, 0.1), quantile(values, 0.9)],
    samples: values.length,
    budget: limit === null ? '' : `<= ${limit} ${unit}`,
    within: limit === null ? null : value <= limit,
  };
}

/** A row with a fixed minimum. */
export function floorRow(name: string, unit: string, values: readonly number[], least: number): Row {
  const row = budgetRow(name, unit, values, least);
  return { ...row, budget: `>= ${least} ${unit}`, within: row.value >= least };
}

const show = (value: number | null): string =>
  value === null ? '' : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);

export function printTable(rows: readonly Row[]): string {
  const head = ['what', 'ours', 'reference', 'ratio', 'spread 10-90 %', 'n', 'budget', ''];
  const body = rows.map((row) => [
    row.name,
    `${show(row.value)} ${row.unit}`,
    row.referenceName === 'budget' ? '' : `${show(row.reference)} ${row.unit} (${row.referenceName})`,
    row.referenceName === 'budget' ? '' : show(row.ratio),
    `${show(row.spread[0])} - ${show(row.spread[1])}`,
    String(row.samples),
    row.budget,
    row.within === null ? '' : row.within ? 'ok' : 'OVER',
  ]);
  const widths = head.map((title, column) =>
    Math.max(title.length, ...body.map((cells) => cells[column]?.length ?? 0)),
  );
  return [head, widths.map((width) => '-'.repeat(width)), ...body]
    .map((cells) =>
      cells
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
