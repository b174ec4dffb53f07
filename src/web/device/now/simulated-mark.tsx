import { formatHeight } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { StateMark } from '../../shared/ui.tsx';

/** Stands beside each number of a simulated sea, with its true height where that is known. */
export function SimulatedMark({ truthM }: { readonly truthM?: number | undefined }) {
  return (
    <StateMark tone="warn">
      {text.simulated}
      {truthM === undefined ? null : (
        <span class="number">{text.now.truth(formatHeight(truthM, unit.value))}</span>
      )}
    </StateMark>
  );
}
