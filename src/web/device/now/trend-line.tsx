import { formatHeight } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import type { Course } from './records.ts';
import { coursePaths } from './course-paths.ts';
import type { Trend } from './trend.ts';

const WIDTH = 160;
const HEIGHT = 36;

/** The course of the last three hours: drawn, and in words. */
export function TrendLine({ course }: { readonly course: Course | null }) {
  const paths = course === null ? null : coursePaths(course.series, { width: WIDTH, height: HEIGHT });
  return (
    <div class="trend">
      {paths === null ? null : (
        <svg viewBox={`0 0 ${String(WIDTH)} ${String(HEIGHT)}`} preserveAspectRatio="none" aria-hidden="true">
          <path class="band" d={paths.band} />
          <path class="line" d={paths.line} />
        </svg>
      )}
      {course === null ? null : <TrendWords trend={course.trend} />}
    </div>
  );
}

/** Arrows that point up, to the right and down. */
const ARROWS = {
  rising: 'M3 13 13 3M6 3h7v7',
  steady: 'M2 8h12M9 3l5 5-5 5',
  falling: 'M3 3l10 10M6 13h7V6',
};

function TrendWords({ trend }: { readonly trend: Trend | null }) {
  if (trend === null) return <p class="muted">{text.now.noTrend}</p>;
  return (
    <p class="word">
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d={ARROWS[trend.direction]} />
      </svg>
      {trendWords(trend)}
    </p>
  );
}

function trendWords({ direction, changeM }: Trend): string {
  if (direction === 'steady') return text.now.trend.steady;
  return text.now.trend[direction](formatHeight(Math.abs(changeM), unit.value));
}
