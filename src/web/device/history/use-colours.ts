import { useEffect, useState } from 'preact/hooks';
import { theme } from '../../shared/preferences.ts';

const NAMES = ['ink', 'muted', 'line', 'surface', 'accent', 'accent-soft', 'control', 'ok', 'warn'] as const;
export type Colours = Readonly<Record<(typeof NAMES)[number], string>>;

/** The colours of the present theme, for a canvas, which does not know the variables of the style sheet. */
export function useColours(): Colours {
  const [colours, setColours] = useState(readColours);
  useEffect(() => {
    const read = (): void => setColours(readColours());
    read();
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', read);
    return () => dark.removeEventListener('change', read);
  }, [theme.value]);
  return colours;
}

function readColours(): Colours {
  const probe = document.createElement('span');
  probe.hidden = true;
  // A canvas has no forced colours: the theme's own are told apart better than one.
  probe.style.setProperty('forced-color-adjust', 'none');
  document.body.append(probe);
  const found = Object.fromEntries(
    NAMES.map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }),
  );
  probe.remove();
  return found as Colours;
}
