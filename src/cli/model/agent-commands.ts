import type { Command } from 'commander';
import type { AgentOptions } from '../agent-commands.ts';
import type { InstallOptions } from './agent.ts';
import type { Terminal } from '../terminal.ts';

type Choose = (action: (terminal: Terminal) => Promise<number>) => void;

const run = () => import('./agent.ts');

/** The commands of `swellsight model` that a running agent answers; `make` makes one of the group, with its address. */
export function registerModelAgent(make: (name: string, text: string) => Command, choose: Choose): void {
  make('list', 'slots, the install in hand or the last one, and what is refused').action(
    (options: AgentOptions) => choose(async (terminal) => (await run()).modelList(options, terminal)),
  );
  make(
    'install <name> <version>',
    "from the device's repository; the model that serves does so until the end",
  )
    .option('--digest <digest>', 'sha256:… of the bundle: another one is refused')
    .option('--clear-failed', 'although it failed there before')
    .option('--watch', 'until the new model serves, or does not')
    .action((name: string, version: string, options: InstallOptions) =>
      choose(async (terminal) => (await run()).modelInstall(name, version, options, terminal)),
    );
  for (const [what, text] of [
    ['rollback', 'back to the former model, without network'],
    ['reload', 'the same model in a new process; no frame is lost'],
  ] as const)
    make(what, text).action((options: AgentOptions) =>
      choose(async (terminal) => (await run()).modelChange(what, options, terminal)),
    );
  make('abort', 'stop the install in hand; the former model serves').action((options: AgentOptions) =>
    choose(async (terminal) => (await run()).modelAbort(options, terminal)),
  );
}
