import { AgentError } from '../../base/errors.ts';
import type { ShoreLine } from '../../sea-state/layout.ts';

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
