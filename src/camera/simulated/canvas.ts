export type Rgb = readonly [number, number, number];

/** An image to draw on: row-major RGB, 0..255. */
export interface Canvas {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly rgb: Uint8ClampedArray;
}

export const createCanvas = (widthPx: number, heightPx: number): Canvas => ({
  widthPx,
  heightPx,
  rgb: new Uint8ClampedArray(widthPx * heightPx * 3),
});

/** Blends a colour into one pixel. Ignores pixels outside the image. */
export function blend(canvas: Canvas, x: number, y: number, colour: Rgb, alpha: number): void {
  if (x < 0 || y < 0 || x >= canvas.widthPx || y >= canvas.heightPx) return;
  const at = (y * canvas.widthPx + x) * 3;
  const { rgb } = canvas;
  for (let i = 0; i < 3; i += 1) {
    const old = rgb[at + i] ?? 0;
    rgb[at + i] = old + ((colour[i] ?? 0) - old) * alpha;
  }
}

/** Turns the image around its centre, clockwise for positive angles. The colour of the edge continues outside of it. */
export function rotate({ widthPx, heightPx, rgb }: Canvas, angleRad: number): void {
  const source = rgb.slice();
  const [cos, sin] = [Math.cos(angleRad), Math.sin(angleRad)];
  for (let y = 0, to = 0; y < heightPx; y += 1) {
    const dy = y - heightPx / 2;
    for (let x = 0; x < widthPx; x += 1, to += 3) {
      const dx = x - widthPx / 2;
      const fromX = Math.max(0, Math.min(widthPx - 1.001, widthPx / 2 + dx * cos + dy * sin));
      const fromY = Math.max(0, Math.min(heightPx - 1.001, heightPx / 2 + dy * cos - dx * sin));
      const at = (Math.floor(fromY) * widthPx + Math.floor(fromX)) * 3;
      const [right, down] = [fromX % 1, fromY % 1];
      for (let i = 0; i < 3; i += 1) {
        const above = (source[at + i] ?? 0) * (1 - right) + (source[at + i + 3] ?? 0) * right;
        const under = at + i + widthPx * 3;
        const below = (source[under] ?? 0) * (1 - right) + (source[under + 3] ?? 0) * right;
        rgb[to + i] = above * (1 - down) + below * down;
      }
    }
  }
}

/** Draws a straight line with round ends and soft edges. */
export function stroke(
  canvas: Canvas,
  from: { readonly x: number; readonly y: number },
  to: { readonly x: number; readonly y: number },
  widthPx: number,
  colour: Rgb,
  alpha = 1,
): void {
  const reach = widthPx / 2 + 1;
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const squared = dx * dx + dy * dy || 1;
  const y0 = Math.max(0, Math.floor(Math.min(from.y, to.y) - reach));
  const y1 = Math.min(canvas.heightPx - 1, Math.ceil(Math.max(from.y, to.y) + reach));
  const slantPx = reach * Math.sqrt(1 + (dx / (Math.abs(dy) || 1)) ** 2);
  for (let y = y0; y <= y1; y += 1) {
    // Visit only the part of the row that the line can touch, not the whole bounding box of a long diagonal line.
    const at = Math.abs(dy) < 1 ? null : from.x + (dx * (y - from.y)) / dy;
    const lowX = Math.max(Math.min(from.x, to.x) - reach, at === null ? 0 : at - slantPx);
    const highX = Math.min(Math.max(from.x, to.x) + reach, at === null ? Infinity : at + slantPx);
    for (let x = Math.max(0, Math.floor(lowX)); x <= Math.min(canvas.widthPx - 1, highX); x += 1) {
      const t = Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / squared));
      const distancePx = Math.hypot(x - from.x - t * dx, y - from.y - t * dy);
      const cover = Math.min(1, widthPx / 2 + 0.5 - distancePx) * Math.min(1, widthPx);
      if (cover > 0) blend(canvas, x, y, colour, cover * alpha);
    }
  }
}
