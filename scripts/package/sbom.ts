import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NodePackage } from './node-runtime.ts';
import { npm } from '../setup.mjs';

interface Component {
  readonly 'bom-ref'?: string;
  readonly type: string;
  readonly name: string;
  readonly version: string;
}

interface CycloneDx {
  readonly bomFormat: 'CycloneDX';
  readonly serialNumber: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly components: readonly Component[];
}

export interface SbomInput {
  /** A copy of package.json, which is changed, and the installed node_modules of one platform. */
  readonly directory: string;
  readonly nodePackage: NodePackage;
  readonly commit: string;
  readonly commitTimeS: number;
}

/**
 * The CycloneDX document of the archive: what `npm sbom` finds in node_modules, and the Node runtime. What changes from
 * run to run (time, serial number, version of npm) is replaced by values that depend on the commit alone.
 */
export function createSbom({ directory, nodePackage, commit, commitTimeS }: SbomInput): string {
  // npm reports development dependencies as missing, although they are left out.
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ ...manifest, devDependencies: {} }));
  const { stdout } = npm(
    process.execPath,
    ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'],
    { cwd: directory, stdio: ['ignore', 'pipe', 2], encoding: 'utf8', maxBuffer: 1 << 26 },
  );
  const found = JSON.parse(stdout) as CycloneDx;
  const document: CycloneDx = {
    ...found,
    serialNumber: serialNumberOf(`${commit} ${nodePackage.name}`),
    metadata: {
      ...found.metadata,
      timestamp: new Date(commitTimeS * 1000).toISOString(),
      tools: [{ vendor: 'npm', name: 'cli' }],
    },
    components: [...found.components, nodeComponent(nodePackage)],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function nodeComponent({
  name,
  version,
  integrity,
}: NodePackage): Component & Readonly<Record<string, unknown>> {
  return {
    'bom-ref': `${name}@${version}`,
    type: 'platform',
    name,
    version,
    purl: `pkg:npm/${name}@${version}`,
    licenses: [{ license: { id: 'MIT' } }],
    hashes: [
      { alg: 'SHA-512', content: Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex') },
    ],
  };
}

/** A UUID of version 8: the first bits of a digest. */
function serialNumberOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = '89ab'[Number.parseInt(hex.slice(16, 17), 16) % 4] ?? '8';
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
