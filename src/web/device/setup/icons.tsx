import type { JSX } from 'preact';

const SHAPES = {
  undo: <path d="M7 5 3 9l4 4M3 9h9a5 5 0 0 1 0 10h-2" />,
  redo: <path d="m15 5 4 4-4 4M19 9h-9a5 5 0 0 0 0 10h2" />,
  close: <path d="m6 6 10 10M16 6 6 16" />,
  plus: <path d="M11 4v14M4 11h14" />,
  lock: <path d="M5 10h12v8H5zM8 10V7a3 3 0 0 1 6 0v3" />,
  camera: (
    <path d="M3 7h4l1.500-2.500h5L15 7h4v11H3zM11 15.500a3.200 3.200 0 1 0 0-6.400 3.200 3.200 0 0 0 0 6.400z" />
  ),
  check: <path d="m4 11.500 4.500 4.500L18 6.500" />,
  back: <path d="m13 5-6 6 6 6" />,
} as const satisfies Record<string, JSX.Element>;

/** A drawing beside a text, or in a button that has a name. */
export function Icon({ name }: { readonly name: keyof typeof SHAPES }) {
  return (
    <svg
      class="icon-shape"
      viewBox="0 0 22 22"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {SHAPES[name]}
    </svg>
  );
}
