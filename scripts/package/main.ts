// npm run package [-- --arch amd64|arm64] [--out DIR] [--fast]: the archive that scripts/install.sh installs. See
// docs/install.md. --fast compresses less, for tests.
import { statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from './build.ts';
import { ARCHITECTURES, hostArchitecture } from './platform.ts';
import { listPartSizes } from './sizes.ts';

const { values } = parseArgs({
  options: { arch: { type: 'string' }, out: { type: 'string' }, fast: { type: 'boolean' } },
});
const arch =
  values.arch === undefined ? hostArchitecture() : ARCHITECTURES.find((name) => name === values.arch);
if (arch === undefined) {
  console.error(`package: --arch is one of ${ARCHITECTURES.join(', ')}`);
  process.exit(2);
}

const checkout = join(import.meta.dirname, '..', '..');
const { archive, sha256, release } = await buildPackage({
  checkout,
  arch,
  out: values.out ?? join(checkout, 'dist-package'),
  cache: join(checkout, '.cache', 'package'),
  isFast: values.fast ?? false,
});

if (release.commit.endsWith('-modified'))
  console.error(
    'package: the checkout has changes that are not committed; this archive cannot be built again',
  );
for (const line of listPartSizes(release)) console.log(line);
console.log(
  `\n${relative(process.cwd(), archive)}: ${(statSync(archive).size / 1e6).toFixed(1)} MB, sha256 ${sha256}`,
);
