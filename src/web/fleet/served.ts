/** What `swellsight fleet serve` writes into the page; src/fleet/page-server/pages.ts. */
export interface Served {
  /** The broker, as a person knows it. */
  readonly broker: string;
  /** Path of the tunnel to it. */
  readonly path: string;
  readonly base: string;
  /** Names of tags by a pattern of devices. */
  readonly tags: Readonly<Record<string, readonly string[]>>;
}

/** Null when any other web server serves the page. */
export const served: Served | null = readServed();

function readServed(): Served | null {
  const content = document.querySelector<HTMLMetaElement>('meta[name="swellsight-fleet"]')?.content;
  return content === undefined ? null : (JSON.parse(content) as Served);
}

/** Address of the tunnel of this server. */
export const tunnelAddress = ({ path }: Served): string =>
  new URL(path, location.href).href.replace(/^http/, 'ws');
