import { Option, type Command } from 'commander';
import type {
  ExportOptions,
  InitOptions,
  KeysOptions,
  RepoPublishOptions,
  RotateOptions,
  ServeOptions,
  VerifyOptions,
} from './run.ts';
import type { Terminal } from '../terminal.ts';

type Choose = (action: (terminal: Terminal) => Promise<number>) => void;

const run = () => import('./run.ts');
const collect = (value: string, before: readonly string[]): string[] => [...before, value];

/** `swellsight repo …`: the operator's signed repository of models. */
export function addRepoCommands(program: Command, choose: Choose): void {
  const repo = program
    .command('repo')
    .description("the operator's signed repository of models")
    .exitOverride()
    .copyInheritedSettings(program);
  const plain = (name: string, text: string): Command =>
    repo
      .command(name)
      .description(text)
      .exitOverride()
      .copyInheritedSettings(program)
      .addOption(new Option('--json', 'print JSON'));
  const command = (name: string, text: string): Command =>
    plain(name, text)
      .option('--keys <dir>', 'folder of the keys (default: the repository\'s name with "-keys")')
      .option('--root-keys <dir>', 'folder of the root keys (default: root in --keys); keep it offline')
      .option(
        '--passphrase-file <file>',
        'of the private keys (or SWELLSIGHT_REPO_PASSPHRASE, SWELLSIGHT_REPO_PASSPHRASE_FILE)',
      );

  command('init <dir>', 'make keys and an empty signed repository')
    .option('--count <role=n>', 'keys of a role (root=3, others 1)', collect, [])
    .option('--threshold <role=n>', 'keys that must sign (root=2, others 1)', collect, [])
    .option('--expires <role=days>', 'how long a signature holds', collect, [])
    .action((dir: string, options: InitOptions) =>
      choose(async (terminal) => (await run()).repoInit(dir, options, terminal)),
    );
  command('publish <dir> [bundles...]', 'pack, lay down and sign; without bundles sign anew')
    .option('--withdraw <name/version>', 'offer it no longer', collect, [])
    .option('--timestamp-only', 'a new timestamp and nothing else, for a timer')
    .action((dir: string, bundles: string[], options: RepoPublishOptions) =>
      choose(async (terminal) => (await run()).repoPublish(dir, bundles, options, terminal)),
    );
  command('keys <dir>', 'who signs for what; add and revoke')
    .option('--add <role>', 'a new key', collect, [])
    .option('--revoke <key>', 'the beginning of its id', collect, [])
    .option('--threshold <role=n>', 'keys that must sign', collect, [])
    .action((dir: string, options: KeysOptions) =>
      choose(async (terminal) => (await run()).repoKeys(dir, options, terminal)),
    );
  command(
    'rotate <dir> [roles...]',
    'new keys for these roles; without one, the root anew with a new expiry',
  ).action((dir: string, roles: string[], options: RotateOptions) =>
    choose(async (terminal) => (await run()).repoRotate(dir, roles, options, terminal)),
  );
  plain('verify <dir>', 'look at all of it as a device would')
    .option('--root <file>', 'the root that devices have pinned; the first one otherwise')
    .action((dir: string, options: VerifyOptions) =>
      choose(async (terminal) => (await run()).repoVerify(dir, options, terminal)),
    );
  plain('serve <dir>', 'a plain web server, for trying out')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <port>', 'where to listen; 0 for any', '8090')
    .action((dir: string, options: ServeOptions) =>
      choose(async (terminal) => (await run()).repoServe(dir, options, terminal)),
    );
  command('export <dir> <name> <version>', 'the archive that goes over MQTT: metadata and one model')
    .requiredOption('--out <file>', 'the .tar to write')
    .action((dir: string, name: string, version: string, options: ExportOptions) =>
      choose(async (terminal) => (await run()).repoExport(dir, name, version, options, terminal)),
    );
}
