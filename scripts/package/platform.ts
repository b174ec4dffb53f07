export const ARCHITECTURES = ['amd64', 'arm64'] as const;
/** As `dpkg --print-architecture` prints it. */
export type Architecture = (typeof ARCHITECTURES)[number];

interface Platform {
  /** The name of the architecture in npm and Node. */
  readonly npm: 'x64' | 'arm64';
  /** `e_machine` in the header of an ELF file. */
  readonly elfMachine: number;
}

export const PLATFORMS: Readonly<Record<Architecture, Platform>> = {
  amd64: { npm: 'x64', elfMachine: 62 },
  arm64: { npm: 'arm64', elfMachine: 183 },
};

/** The C library that the native modules need at least (better-sqlite3): Debian 12, Ubuntu 22.04, JetPack 6. */
export const MIN_GLIBC = '2.34';

/** The architecture of this machine. */
export function hostArchitecture(): Architecture {
  if (process.arch === 'arm64') return 'arm64';
  if (process.arch === 'x64') return 'amd64';
  throw new Error(
    `there is no package for ${process.arch}: choose one with --arch ${ARCHITECTURES.join('|')}`,
  );
}
