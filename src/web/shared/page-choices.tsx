import { theme, THEMES, unit, UNITS } from './preferences.ts';
import { text } from './text.ts';
import { Choice } from './ui.tsx';

/** The choices that this browser remembers: unit of heights and colours. */
export function PageChoices() {
  return (
    <>
      <Choice
        label={text.head.unit}
        choices={UNITS.map((value) => ({ value, text: value }))}
        value={unit.value}
        onChange={(value) => (unit.value = value)}
      />
      <select
        aria-label={text.head.theme}
        value={theme.value}
        onChange={(event) =>
          (theme.value = THEMES.find((one) => one === event.currentTarget.value) ?? 'auto')
        }
      >
        {THEMES.map((value) => (
          <option key={value} value={value}>
            {text.head.themes[value]}
          </option>
        ))}
      </select>
    </>
  );
}
