import { DEVICE_CONDITIONS, type DeviceCondition } from '../../contract/conditions.ts';
import { replaceParams } from '../shared/route.ts';
import { ConditionShape, TONES } from './condition-mark.tsx';
import { selection, snapshot } from './fleet-store.ts';
import { fleetText } from './fleet-text.ts';

/** How many devices are in each condition, as a bar and as buttons that filter the list. */
export function Summary() {
  const { rows } = snapshot.value;
  const counts = new Map<DeviceCondition, number>();
  for (const { condition } of rows) counts.set(condition, (counts.get(condition) ?? 0) + 1);
  const present = DEVICE_CONDITIONS.filter((condition) => counts.has(condition));
  const { conditions: chosen } = selection.value;
  const toggle = (condition: DeviceCondition): void => {
    const next = chosen.includes(condition)
      ? chosen.filter((one) => one !== condition)
      : [...chosen, condition];
    replaceParams({ show: next.length === 0 ? null : next.join(',') });
  };
  return (
    <div class="summary">
      <svg class="shares" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">
        {shares(present, counts, rows.length).map(({ condition, from, width }) => (
          <rect
            key={condition}
            class={`share ${condition} ${TONES[condition]}`}
            x={from}
            y="0"
            width={width}
            height="10"
          />
        ))}
      </svg>
      <div class="chips" role="group" aria-label={fleetText.list.columns.condition}>
        <button
          type="button"
          class="chip"
          aria-pressed={chosen.length === 0}
          onClick={() => replaceParams({ show: null })}
        >
          <strong class="number">{rows.length.toLocaleString('en')}</strong>
          {fleetText.list.all}
        </button>
        {present.map((condition) => (
          <button
            key={condition}
            type="button"
            class={`chip ${TONES[condition]}`}
            title={fleetText.meanings[condition]}
            aria-pressed={chosen.includes(condition)}
            onClick={() => toggle(condition)}
          >
            <ConditionShape condition={condition} />
            <strong class="number">{(counts.get(condition) ?? 0).toLocaleString('en')}</strong>
            {fleetText.conditions[condition]}
          </button>
        ))}
      </div>
    </div>
  );
}

/** Each present condition gets a share of the bar that can be seen. */
function shares(
  present: readonly DeviceCondition[],
  counts: ReadonlyMap<DeviceCondition, number>,
  total: number,
): readonly { readonly condition: DeviceCondition; readonly from: number; readonly width: number }[] {
  const least = 8;
  const widths = present.map((condition) => Math.max(least, (1000 * (counts.get(condition) ?? 0)) / total));
  const scale = 1000 / widths.reduce((sum, width) => sum + width, 0);
  let from = 0;
  return present.map((condition, index) => {
    const width = (widths[index] ?? 0) * scale;
    from += width;
    return { condition, from: from - width, width: Math.max(1, width - 2) };
  });
}
