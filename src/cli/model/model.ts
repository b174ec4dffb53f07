import { Option, type Command } from 'commander';
import type { InspectOptions } from './inspect.ts';
import type { PackOptions } from './pack.ts';
import type { TestOptions } from './test.ts';
import type { Terminal } from '../terminal.ts';

/** What a command hands back is the exit code. */
type Choose = (action: (terminal: Terminal) => Promise<number>) => void;

const json = () => new Option('--json', 'print JSON');

/** The commands of `swellsight model`; `make` makes one of the group. */
export function registerModel(make: (name: string, text: string) => Command, choose: Choose): void {
  make('pack <dir>', 'one archive of a bundle; the same files give the same bytes')
    .option('--out <file>', 'name-version.tar in this folder otherwise')
    .addOption(json())
    .action((dir: string, options: PackOptions) =>
      choose(async (terminal) => (await import('./pack.ts')).modelPack(dir, options, terminal)),
    );
  make('inspect <path>', 'what a bundle (folder or .tar) holds, and everything that is wrong with it')
    .addOption(json())
    .action((path: string, options: InspectOptions) =>
      choose(async (terminal) => (await import('./inspect.ts')).modelInspect(path, options, terminal)),
    );
  make('test <path>', 'run a bundle (folder or .tar) on this machine: golden outputs, providers, times')
    .option('-c, --config <file>', 'configuration, for its inference settings (or SWELLSIGHT_CONFIG)')
    .addOption(json())
    .action((path: string, options: TestOptions) =>
      choose(async (terminal) => (await import('./test.ts')).modelTest(path, options, terminal)),
    );
}
