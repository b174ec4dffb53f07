import { effect, signal, type Signal } from '@preact/signals';

const PREFIX = 'swellsight.';

/** A choice that this browser remembers. Invalid stored values and browsers without storage give the default. */
function remembered<T extends string>(name: string, choices: readonly T[], usual: T): Signal<T> {
  const choice = signal(readChoice(name, choices) ?? usual);
  effect(() => {
    try {
      localStorage.setItem(PREFIX + name, choice.value);
    } catch {
      // A browser may refuse storage: the choice then lasts until the page is closed.
    }
  });
  return choice;
}

function readChoice<T extends string>(name: string, choices: readonly T[]): T | undefined {
  try {
    const stored = localStorage.getItem(PREFIX + name);
    return choices.find((choice) => choice === stored);
  } catch {
    return undefined;
  }
}

export const UNITS = ['m', 'ft'] as const;
export type Unit = (typeof UNITS)[number];
export const unit = remembered<Unit>('unit', UNITS, 'm');

export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];
export const theme = remembered<Theme>('theme', THEMES, 'auto');

/** Applies the theme to the document whenever it changes. */
export function applyTheme(): void {
  effect(() => {
    if (theme.value === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme.value;
  });
}
