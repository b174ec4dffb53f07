import { AgentError } from '../../base/errors.ts';

/** How a picture becomes the cells of a series. */
export interface Layout {
  readonly columns: number;
  readonly rows: number;
  /** ffmpeg filters that make the picture from which the cells are taken. */
  readonly filters: string;
  /** Bytes of this picture. */
  readonly sizeBytes: number;
  /** The cells of the picture, row by row. */
  cellsOf(picture: Buffer): Buffer;
}

/** A line from the sea to the shore; positions as shares of width and height of the picture. */
export interface ShoreLine {
  readonly fromX: number;
  readonly fromY: number;
  readonly toX: number;
  readonly toY: number;
}

/** A grid over the whole picture; each cell is the mean of its pixels. */
export function gridLayout(): Layout {
  const [columns, rows] = [96, 54];
  return {
    columns,
    rows,
    filters: `scale=${columns}:${rows}:flags=area,format=gray`,
    sizeBytes: columns * rows,
    cellsOf: (picture) => picture,
  };
}

/** Points along lines; each is the mean of 3x3 pixels of the reduced picture. Each line is a column. */
export function linesLayout(lines: readonly ShoreLine[]): Layout {
  const [width, height, rows] = [960, 540, 96];
  const at = (share: number, size: number): number => 1 + Math.round(share * (size - 3));
  const centres = Array.from({ length: rows }, (_, row) => row / (rows - 1)).flatMap((along) =>
    lines.map(({ fromX, fromY, toX, toY }) => {
      const x = at(fromX + along * (toX - fromX), width);
      const y = at(fromY + along * (toY - fromY), height);
      return y * width + x;
    }),
  );
  const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => dy * width + dx));
  return {
    columns: lines.length,
    rows,
    filters: `scale=${width}:${height}:flags=area,format=gray`,
    sizeBytes: width * height,
    cellsOf: (picture) =>
      Buffer.from(
        centres.map((centre) =>
          Math.round(
            around.reduce((sum, offset) => sum + (picture[centre + offset] ?? 0), 0) / around.length,
          ),
        ),
      ),
  };
}

/** Reads `x1,y1,x2,y2`. Throws `usage`. */
export function parseLine(text: string): ShoreLine {
  const values = text.split(',').map(Number);
  const [fromX = Number.NaN, fromY = Number.NaN, toX = Number.NaN, toY = Number.NaN] = values;
  const isInside = values.length === 4 && values.every((value) => value >= 0 && value <= 1);
  if (!isInside || Math.hypot(toX - fromX, toY - fromY) < 0.05)
    throw new AgentError(
      'usage',
      `--line needs x1,y1,x2,y2 from the sea to the shore, as shares of width and height in 0..1, not ${text}`,
    );
  return { fromX, fromY, toX, toY };
}
