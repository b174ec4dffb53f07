import type { Command } from 'commander';
import { collectValues, jsonOption, type SelectCommand } from '../options.ts';

const loadAgents = () => import('./agents.ts');
const loadKeys = () => import('./keys.ts');
const loadModels = () => import('./models.ts');

/** Adds `swellsight repo …`: the operator's signed repository of models, or of agents. */
export function addRepoCommands(program: Command, select: SelectCommand): void {
  const repo = program
    .command('repo')
    .description("the operator's signed repository of models, or of agents");
  const add = (name: string, description: string): Command =>
    repo.command(name).description(description).addOption(jsonOption());
  const addWithKeys = (name: string, description: string): Command =>
    add(name, description)
      .option('--keys <dir>', 'directory of the keys (default: the name of the repository with "-keys")')
      .option(
        '--root-keys <dir>',
        'directory of root keys, repeated for several disks (default: root in --keys); keep them offline',
        collectValues,
        [],
      )
      .option(
        '--passphrase-file <file>',
        'passphrase of the private keys (or SWELLSIGHT_REPO_PASSPHRASE, SWELLSIGHT_REPO_PASSPHRASE_FILE)',
      );

  addWithKeys('init <dir>', 'create keys and an empty signed repository')
    .option('--count <role=n>', 'number of keys of a role (root=3, others 1)', collectValues, [])
    .option('--threshold <role=n>', 'number of keys that must sign (root=2, others 1)', collectValues, [])
    .option('--expires <role=days>', 'how long a signature is valid', collectValues, [])
    .action(select(async () => (await loadKeys()).initRepo));
  addWithKeys('publish <dir> [bundles...]', 'pack, add and sign bundles; without bundles, sign again')
    .option('--withdraw <name/version>', 'remove a model', collectValues, [])
    .option('--timestamp-only', 'only sign a new timestamp, for a timer')
    .option('--no-test', 'do not run the bundles first, on a machine that cannot run them')
    .action(select(async () => (await loadModels()).publishModels));
  addWithKeys('publish-agent <dir> [archives...]', 'add and sign archives of the agent (npm run package)')
    .option('--withdraw <version>', 'remove a version of the agent', collectValues, [])
    .action(select(async () => (await loadAgents()).publishAgents));
  const addChange = (name: string, description: string): Command =>
    addWithKeys(name, description).option(
      '--to-sign <file>',
      'publish nothing: write the new root into a file that others sign with `repo sign-root`',
    );
  addChange('keys <dir>', 'list, add and revoke keys')
    .option('--add <role>', 'create a key for a role', collectValues, [])
    .option('--revoke <key>', 'revoke a key; the start of its id', collectValues, [])
    .option('--threshold <role=n>', 'number of keys that must sign', collectValues, [])
    .action(select(async () => (await loadKeys()).manageRepoKeys));
  addChange(
    'rotate <dir> [roles...]',
    'create new keys for the roles; without roles, sign the root again with a new expiry',
  ).action(select(async () => (await loadKeys()).rotateRepoKeys));
  addWithKeys(
    'sign-root <file>',
    'sign a root of --to-sign with your root key, without the repository',
  ).action(select(async () => (await loadKeys()).signRoot));
  addWithKeys('import-root <dir> <files...>', 'publish a root that others have signed').action(
    select(async () => (await loadKeys()).importSignedRoot),
  );
  add('verify <dir>', 'verify the whole repository like a device')
    .option('--root <file>', 'the root that the devices trust (default: the first root)')
    .action(select(async () => (await loadModels()).verifyRepo));
  add('serve <dir>', 'serve the repository by HTTP, for tests')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0: any free port', '8090')
    .action(select(async () => (await loadModels()).serveRepo));
  addWithKeys('export <dir> <name> <version>', 'write the archive for an install over MQTT')
    .requiredOption('--out <file>', 'the .tar file to write')
    .action(select(async () => (await loadModels()).exportModel));
  addWithKeys('export-agent <dir> <version> <arch>', 'write the archive for an update of the agent over MQTT')
    .requiredOption('--out <file>', 'the .tar file to write')
    .action(select(async () => (await loadAgents()).exportAgentArchive));
}
