import { effect, signal, type Signal } from '@preact/signals';
import { UNITS, type Unit } from './units.ts';

export { UNITS, type Unit };

const PREFIX = 'swellsight.';

/** A choice that this browser remembers. Invalid stored values and browsers without storage give the default. */
function remembered<T extends string>(name: string, choices: readonly T[], usual: T): Signal<T> {
  const choice = signal(readChoice(name, choices) ?? usual);
  effect(() => store(name, choice.value));
  return choice;
}

function store(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // A browser may refuse storage: the choice then lasts until the page is closed.
  }
}

function read(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

function rememberedText(name: string): Signal<string> {
  const value = signal(read(name) ?? '');
  effect(() => store(name, value.value));
  return value;
}

function readChoice<T extends string>(name: string, choices: readonly T[]): T | undefined {
  const stored = read(name);
  return choices.find((choice) => choice === stored);
}

export const unit = remembered<Unit>('unit', UNITS, 'm');

export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];
export const theme = remembered<Theme>('theme', THEMES, 'auto');

/** Hawaiian: half of the face. */
export const SCALES = ['face', 'hawaiian'] as const;
export type Scale = (typeof SCALES)[number];
export const scale = remembered<Scale>('scale', SCALES, 'face');

/** The name that a person gives with readings; may be empty. */
export const observer = rememberedText('observer');

/** Applies the theme to the document whenever it changes. */
export function applyTheme(): void {
  // Unit tests import this file without the types of browsers.
  const { document } = globalThis as unknown as {
    document: { documentElement: { dataset: Record<string, string | undefined> } };
  };
  const { dataset } = document.documentElement;
  effect(() => {
    if (theme.value === 'auto') delete dataset['theme'];
    else dataset['theme'] = theme.value;
  });
}
