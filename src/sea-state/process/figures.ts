import sharp from 'sharp';
import type { SeaStatePicture } from '../../contract/sea-state.ts';
import type { TimeStack } from '../time-stack.ts';
import type { SeaStateEstimate, Spectrum } from '../types.ts';
import type { FigureData } from './messages.ts';

const WIDTH = 960;
const MARGIN = { left: 70, right: 20 } as const;
const TITLE_HEIGHT = 60;
/** Heights of the panels with their axes, pixels. */
const HEIGHTS: Readonly<Record<SeaStatePicture, number>> = { timestack: 290, spectrum: 270 };
/** Room for the axis below a panel. */
const AXIS_HEIGHT = 60;
const PERIOD_TICKS_S = [25, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3];
/** Frequency at the left and right end of the spectrum, Hz. */
const SPAN_HZ = { from: 0.03, to: 1 / 3 } as const;

/** The panels one below the other, as PNG. */
export const figurePng = async (panels: readonly SeaStatePicture[], data: FigureData): Promise<Uint8Array> =>
  sharp(Buffer.from(await figureSvg(panels, data)))
    .png()
    .toBuffer();

/** The panels one below the other: the time stack, and the spectrum with background, peak and interval. */
export async function figureSvg(panels: readonly SeaStatePicture[], data: FigureData): Promise<string> {
  const drawn: string[] = [];
  let top = TITLE_HEIGHT;
  for (const panel of panels) {
    const height = HEIGHTS[panel] - AXIS_HEIGHT;
    const box = { left: MARGIN.left, top, width: WIDTH - MARGIN.left - MARGIN.right, height };
    if (panel === 'timestack') drawn.push(await drawStack(data.stack, data.fromS, box));
    else drawn.push(data.spectrum ? drawSpectrum(data.spectrum, data, box) : noSpectrum(box));
    top += HEIGHTS[panel];
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}"`,
    ' font-family="DejaVu Sans, Arial, sans-serif" font-size="13">',
    `<rect width="${WIDTH}" height="${top}" fill="white"/>`,
    text(MARGIN.left, 24, data.title, 'font-size="16" font-weight="bold"'),
    text(MARGIN.left, 44, data.caption),
    ...drawn,
    '</svg>',
  ].join('\n');
}

async function drawStack(stack: TimeStack, fromS: number, box: Box): Promise<string> {
  const { samples, rows, columns, column, values, rateHz } = stack;
  const png = await sharp(values, { raw: { width: samples, height: rows, channels: 1 } })
    .normalise()
    .png()
    .toBuffer();
  const { left, top, width, height } = box;
  const durationS = samples / rateHz;
  const stepS = [10, 20, 30, 60, 120, 300, 600].find((step) => durationS / step <= 12) ?? 1200;
  const ticks = Array.from({ length: Math.floor(durationS / stepS) + 1 }, (_, i) => i * stepS).map((atS) =>
    tick(left + (atS / durationS) * width, top + height, String(Math.round(fromS + atS))),
  );
  const label = columns > 1 ? `rows of column ${column + 1} of ${columns}` : 'points of the line';
  return [
    `<image x="${left}" y="${top}" width="${width}" height="${height}" preserveAspectRatio="none" href="data:image/png;base64,${png.toString('base64')}"/>`,
    frame(box),
    ...ticks,
    text(left + width / 2, top + height + 34, 'time, s', 'text-anchor="middle"'),
    verticalText(left - 14, top + height / 2, label),
  ].join('\n');
}

const noSpectrum = (box: Box): string =>
  frame(box) +
  text(box.left + box.width / 2, box.top + box.height / 2, 'no spectrum', 'text-anchor="middle" fill="#666"');

function drawSpectrum(
  { frequenciesHz, density, background }: Spectrum,
  { period }: Pick<SeaStateEstimate, 'period'>,
  box: Box,
): string {
  const { left, top, width, height } = box;
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
    frame(box),
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
