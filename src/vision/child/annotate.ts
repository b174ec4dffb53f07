import type { Polygon } from '../../config/schema.ts';
import { ADVANCE, drawable, GLYPH_HEIGHT, GLYPH_WIDTH, hasInk } from './bitmap-font.ts';
import type { Picture } from './picture.ts';

type Color = readonly [number, number, number];
const WHITE: Color = [255, 255, 255];
const BLACK: Color = [0, 0, 0];
const OUTLINE: Color = [255, 200, 0];
/** How much of the picture is left under a caption. */
const SHADE = 0.35;
const MARGIN = 2;

function fillBox(picture: Picture, x: number, y: number, width: number, height: number, color: Color): void {
  const right = Math.min(picture.width, x + width);
  for (let row = Math.max(0, y); row < Math.min(picture.height, y + height); row++) {
    for (let column = Math.max(0, x); column < right; column++) {
      picture.data.set(color, (row * picture.width + column) * 3);
    }
  }
}

/**
 * Draws caption lines into the lower left corner, in place: white on a darkened band, so that they are readable on
 * bright and dark pictures. The size follows the picture's width; what does not fit is cut off.
 */
export function drawCaption(picture: Picture, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const dot = Math.max(1, Math.round(picture.width / 400));
  const lineHeight = (GLYPH_HEIGHT + MARGIN) * dot;
  const top = Math.max(0, picture.height - lines.length * lineHeight - MARGIN * dot);
  for (let i = top * picture.width * 3; i < picture.data.length; i++) {
    picture.data[i] = (picture.data[i] ?? 0) * SHADE;
  }
  lines.forEach((line, index) => {
    const y = top + MARGIN * dot + index * lineHeight;
    drawText(picture, drawable(line), MARGIN * dot, y, dot);
  });
}

function drawText(picture: Picture, text: string, left: number, top: number, dot: number): void {
  Array.from(text).forEach((character, index) => {
    for (let x = 0; x < GLYPH_WIDTH; x++) {
      for (let y = 0; y < GLYPH_HEIGHT; y++) {
        if (!hasInk(character, x, y)) continue;
        fillBox(picture, left + (index * ADVANCE + x) * dot, top + y * dot, dot, dot, WHITE);
      }
    }
  });
}

/** Outlines a polygon, in place: bright within a dark rim, so that it shows on any ground. */
export function drawOutline(picture: Picture, polygon: Polygon): void {
  const thick = Math.max(2, Math.round(picture.width / 400));
  for (const [color, width] of [
    [BLACK, thick + 2],
    [OUTLINE, thick],
  ] as const) {
    let previous = polygon[polygon.length - 1];
    for (const corner of polygon) {
      if (previous !== undefined) drawLine(picture, previous, corner, width, color);
      previous = corner;
    }
  }
}

type Corner = Polygon[number];

function drawLine(picture: Picture, from: Corner, to: Corner, width: number, color: Color): void {
  const x0 = from[0] * (picture.width - 1);
  const y0 = from[1] * (picture.height - 1);
  const dx = to[0] * (picture.width - 1) - x0;
  const dy = to[1] * (picture.height - 1) - y0;
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy))));
  const half = Math.floor(width / 2);
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(x0 + (dx * step) / steps);
    const y = Math.round(y0 + (dy * step) / steps);
    fillBox(picture, x - half, y - half, width, width, color);
  }
}
