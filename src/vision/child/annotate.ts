import type { Polygon } from '../../config/schema.ts';
import { GLYPH_ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, isInk, toDrawableText } from './bitmap-font.ts';
import type { RgbImage } from './decode.ts';

type Color = readonly [number, number, number];
const WHITE: Color = [255, 255, 255];
const BLACK: Color = [0, 0, 0];
const YELLOW: Color = [255, 200, 0];
/** Brightness of the image under a caption, share of the original. */
const CAPTION_BRIGHTNESS01 = 0.35;
/** Space around a line of text, dots of the font. */
const MARGIN_DOTS = 2;
/** At this image width a dot of the font is one pixel. */
const REFERENCE_WIDTH_PX = 400;

function fillBox(image: RgbImage, x: number, y: number, width: number, height: number, color: Color): void {
  const right = Math.min(image.width, x + width);
  for (let row = Math.max(0, y); row < Math.min(image.height, y + height); row++) {
    for (let column = Math.max(0, x); column < right; column++) {
      image.data.set(color, (row * image.width + column) * 3);
    }
  }
}

/**
 * Draws caption lines into the lower left corner of the image: white on a darkened band, readable on bright and dark
 * images. The text size follows the width of the image. Text that does not fit is cut off.
 */
export function drawCaption(image: RgbImage, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const dotPx = Math.max(1, Math.round(image.width / REFERENCE_WIDTH_PX));
  const lineHeightPx = (GLYPH_HEIGHT + MARGIN_DOTS) * dotPx;
  const top = Math.max(0, image.height - lines.length * lineHeightPx - MARGIN_DOTS * dotPx);
  for (let i = top * image.width * 3; i < image.data.length; i++) {
    image.data[i] = (image.data[i] ?? 0) * CAPTION_BRIGHTNESS01;
  }
  lines.forEach((line, index) => {
    const y = top + MARGIN_DOTS * dotPx + index * lineHeightPx;
    drawText(image, toDrawableText(line), MARGIN_DOTS * dotPx, y, dotPx);
  });
}

function drawText(image: RgbImage, text: string, left: number, top: number, dotPx: number): void {
  Array.from(text).forEach((character, index) => {
    for (let x = 0; x < GLYPH_WIDTH; x++) {
      for (let y = 0; y < GLYPH_HEIGHT; y++) {
        if (!isInk(character, x, y)) continue;
        fillBox(image, left + (index * GLYPH_ADVANCE + x) * dotPx, top + y * dotPx, dotPx, dotPx, WHITE);
      }
    }
  });
}

/** Draws the outline of a polygon into the image: yellow with a black border, visible on any background. */
export function drawOutline(image: RgbImage, polygon: Polygon): void {
  const thickness = Math.max(2, Math.round(image.width / REFERENCE_WIDTH_PX));
  for (const [color, width] of [
    [BLACK, thickness + 2],
    [YELLOW, thickness],
  ] as const) {
    let previous = polygon[polygon.length - 1];
    for (const corner of polygon) {
      if (previous !== undefined) drawLine(image, previous, corner, width, color);
      previous = corner;
    }
  }
}

type Corner = Polygon[number];

function drawLine(image: RgbImage, from: Corner, to: Corner, width: number, color: Color): void {
  const x0 = from[0] * (image.width - 1);
  const y0 = from[1] * (image.height - 1);
  const dx = to[0] * (image.width - 1) - x0;
  const dy = to[1] * (image.height - 1) - y0;
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy))));
  const half = Math.floor(width / 2);
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(x0 + (dx * step) / steps);
    const y = Math.round(y0 + (dy * step) / steps);
    fillBox(image, x - half, y - half, width, width, color);
  }
}
