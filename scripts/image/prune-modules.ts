// Removes from node_modules what the image does not need: node prune-modules.ts node_modules amd64|arm64
import { findForeignBinaries, pruneModules } from '../package/prune.ts';
import { ARCHITECTURES } from '../package/platform.ts';

const [modules, name] = process.argv.slice(2);
const arch = ARCHITECTURES.find((known) => known === name);
if (modules === undefined || arch === undefined) {
  console.error(`usage: prune-modules.ts NODE_MODULES ${ARCHITECTURES.join('|')}`);
  process.exit(2);
}
pruneModules(modules, arch);
const foreign = findForeignBinaries(modules, arch);
if (foreign.length > 0) {
  console.error(`native code for other platforms; add it to scripts/package/prune.ts: ${foreign.join(', ')}`);
  process.exit(1);
}
