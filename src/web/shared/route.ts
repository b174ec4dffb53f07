import { signal } from '@preact/signals';

/** The view and its parameters, from an address such as `#/history?camera=north&days=7`. */
export interface Route {
  readonly view: string;
  readonly params: URLSearchParams;
}

export const route = signal(parseRoute(location.hash));
addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  return { view: path, params: new URLSearchParams(query) };
}

/** The address of a view: the present parameters, with changes. Null removes a parameter. */
export function addressOf(view: string, changes: Readonly<Record<string, string | null>> = {}): string {
  const params = new URLSearchParams(route.value.params);
  for (const [name, value] of Object.entries(changes))
    if (value === null) params.delete(name);
    else params.set(name, value);
  const query = params.toString();
  return `#/${view}${query === '' ? '' : `?${query}`}`;
}

/** Changes parameters of the present view without an entry in the history of the browser. */
export function replaceParams(changes: Readonly<Record<string, string | null>>): void {
  history.replaceState(null, '', addressOf(route.value.view, changes));
  route.value = parseRoute(location.hash);
}
