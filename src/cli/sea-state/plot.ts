import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import sharp from 'sharp';
import { AgentError } from '../../base/errors.ts';
import type { PixelSeries, SeaStateEstimate, Spectrum } from '../../sea-state/types.ts';
import type { Clip } from './clips.ts';
import { describeClip } from './format.ts';

const WIDTH = 960;
const HEIGHT = 620;
/** Positions of the two panels, pixels of the figure. */
const STACK = { left: 70, top: 60, width: 870, height: 220 } as const;
const SPECTRUM = { left: 70, top: 350, width: 870, height: 210 } as const;
const PERIOD_TICKS_S = [25, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3];
/** Frequency at the left and right end of the spectrum, Hz. */
const SPAN_HZ = { from: 0.03, to: 1 / 3 } as const;

/**
 * Writes a figure: the time stack of the column with the most waves, and the spectrum with background, peak and interval.
 * PNG, or SVG when the name ends so. Throws `usage` when the file cannot be written.
 */
export async function plotClip(
  file: string,
  input: string,
  { fromS, series }: Clip,
  estimate: SeaStateEstimate,
): Promise<void> {
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"`,
    ' font-family="DejaVu Sans, Arial, sans-serif" font-size="13">',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(STACK.left, 24, basename(input), 'font-size="16" font-weight="bold"'),
    text(STACK.left, 44, describeClip(fromS, estimate)),
    await drawStack(series, estimate.cells, fromS),
    estimate.spectrum ? drawSpectrum(estimate.spectrum, estimate) : '',
    '</svg>',
  ].join('\n');
  const bytes = file.toLowerCase().endsWith('.svg')
    ? Buffer.from(svg)
    : await sharp(Buffer.from(svg)).png().toBuffer();
  await writeFile(file, bytes).catch((cause: unknown) => {
    throw new AgentError('usage', `the figure ${file} cannot be written`, { cause });
  });
}

async function drawStack(series: PixelSeries, cells: readonly number[], fromS: number): Promise<string> {
  const column = busiestColumn(series, cells);
  const { samples, rows, columns, values, rateHz } = series;
  const grey = Buffer.alloc(samples * rows);
  for (let sample = 0; sample < samples; sample += 1)
    for (let row = 0; row < rows; row += 1)
      grey[row * samples + sample] = values[(sample * rows + row) * columns + column] ?? 0;
  const png = await sharp(grey, { raw: { width: samples, height: rows, channels: 1 } })
    .normalise()
    .png()
    .toBuffer();
  const { left, top, width, height } = STACK;
  const durationS = samples / rateHz;
  const stepS = [10, 20, 30, 60, 120, 300, 600].find((step) => durationS / step <= 12) ?? 1200;
  const ticks = Array.from({ length: Math.floor(durationS / stepS) + 1 }, (_, i) => i * stepS).map((atS) =>
    tick(left + (atS / durationS) * width, top + height, String(Math.round(fromS + atS))),
  );
  const label = columns > 1 ? `rows of column ${column + 1} of ${columns}` : 'points of the line';
  return [
    `<image x="${left}" y="${top}" width="${width}" height="${height}" preserveAspectRatio="none" href="data:image/png;base64,${png.toString('base64')}"/>`,
    frame(STACK),
    ...ticks,
    text(left + width / 2, top + height + 34, 'time, s', 'text-anchor="middle"'),
    verticalText(left - 14, top + height / 2, label),
  ].join('\n');
}

/** The column with the most cells that were used. */
function busiestColumn({ columns }: PixelSeries, cells: readonly number[]): number {
  const counts = new Array<number>(columns).fill(0);
  for (const cell of cells) counts[cell % columns] = (counts[cell % columns] ?? 0) + 1;
  return cells.length === 0 ? columns >> 1 : counts.indexOf(Math.max(...counts));
}

function drawSpectrum(
  { frequenciesHz, density, background }: Spectrum,
  { period }: SeaStateEstimate,
): string {
  const { left, top, width, height } = SPECTRUM;
  const bins = [...frequenciesHz.keys()].filter((bin) => {
    const frequency = frequenciesHz[bin] ?? 0;
    return frequency >= SPAN_HZ.from && frequency <= SPAN_HZ.to;
  });
  const largest = Math.max(...bins.map((bin) => density[bin] ?? 0));
  const smallest = Math.min(...bins.map((bin) => density[bin] ?? 0));
  const x = (hz: number): number =>
    left + (width * Math.log(hz / SPAN_HZ.from)) / Math.log(SPAN_HZ.to / SPAN_HZ.from);
  const y = (value: number): number =>
    top + height - (height * Math.log(value / smallest)) / Math.log((1.3 * largest) / smallest);
  const curve = (values: Float64Array, style: string): string => {
    const points = bins
      .filter((bin) => (values[bin] ?? 0) > 0)
      .map(
        (bin) =>
          `${x(frequenciesHz[bin] ?? 1).toFixed(1)},${Math.min(y(values[bin] ?? 1), top + height).toFixed(1)}`,
      );
    return `<polyline points="${points.join(' ')}" fill="none" ${style}/>`;
  };
  const interval = period
    ? [
        `<rect x="${x(1 / period.highS)}" y="${top}" width="${x(1 / period.lowS) - x(1 / period.highS)}" height="${height}" fill="#cfe3f5"/>`,
        `<line x1="${x(1 / period.peakS)}" x2="${x(1 / period.peakS)}" y1="${top}" y2="${top + height}" stroke="#1f6fb2" stroke-width="2"/>`,
        text(
          x(1 / period.peakS) + 6,
          top + 16,
          `${period.peakS.toFixed(1)} s`,
          'fill="#1f6fb2" font-weight="bold"',
        ),
      ]
    : [];
  return [
    ...interval,
    curve(background, 'stroke="#888" stroke-dasharray="5 4"'),
    curve(density, 'stroke="black" stroke-width="1.6"'),
    frame(SPECTRUM),
    ...PERIOD_TICKS_S.map((periodS) => tick(x(1 / periodS), top + height, String(periodS))),
    text(left + width / 2, top + height + 34, 'period, s', 'text-anchor="middle"'),
    verticalText(left - 14, top + height / 2, 'density (log)'),
    text(left + width - 8, top + 18, 'dashed: background', 'text-anchor="end" fill="#666"'),
  ].join('\n');
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const frame = ({ left, top, width, height }: Box): string =>
  `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="none" stroke="black"/>`;

const tick = (x: number, y: number, label: string): string =>
  `<line x1="${x}" x2="${x}" y1="${y}" y2="${y + 5}" stroke="black"/>${text(x, y + 19, label, 'text-anchor="middle"')}`;

const verticalText = (x: number, y: number, label: string): string =>
  text(x, y, label, `text-anchor="middle" transform="rotate(-90 ${x} ${y})"`);

const text = (x: number, y: number, label: string, attributes = ''): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escapeXml(label)}</text>`;

const escapeXml = (label: string): string =>
  label.replace(/[<>&"'\p{Cc}]/gu, (char) =>
    /\p{Cc}/u.test(char) ? '?' : `&#${String(char.codePointAt(0))};`,
  );
