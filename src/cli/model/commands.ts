import type { Command } from 'commander';
import type { AgentOptions } from '../agent/client.ts';
import { addAgentOptions } from '../agent/commands.ts';
import { configOption, jsonOption, type SelectCommand } from '../options.ts';
import type { InspectOptions, PackOptions } from './bundle.ts';
import type { ModelInstallOptions } from './installed.ts';
import type { ModelTestOptions } from './test.ts';

const loadInstalled = () => import('./installed.ts');

/** Adds `swellsight model …`: model bundles, and the models of a running agent. */
export function addModelCommands(program: Command, select: SelectCommand): void {
  const models = program.command('model').description('model bundles, and the models of a running agent');
  const add = (name: string, description: string): Command => models.command(name).description(description);
  const addForAgent = (name: string, description: string): Command => addAgentOptions(add(name, description));

  add('pack <dir>', 'pack a bundle into one archive; the same files give the same bytes')
    .option('--out <file>', 'the archive (default: name-version.tar in the working directory)')
    .addOption(jsonOption())
    .action((dir: string, options: PackOptions) =>
      select(async (terminal) => (await import('./bundle.ts')).packModel(dir, options, terminal)),
    );
  add('inspect <path>', 'show the content and all faults of a bundle (directory or .tar)')
    .addOption(jsonOption())
    .action((path: string, options: InspectOptions) =>
      select(async (terminal) => (await import('./bundle.ts')).inspectModel(path, options, terminal)),
    );
  add('test <path>', 'run a bundle (directory or .tar) on this machine: golden outputs, providers, times')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((path: string, options: ModelTestOptions) =>
      select(async (terminal) => (await import('./test.ts')).testModel(path, options, terminal)),
    );

  addForAgent('list', 'show the slots, the current or last install, and refused models').action(
    (options: AgentOptions) =>
      select(async (terminal) => (await loadInstalled()).listModels(options, terminal)),
  );
  addForAgent('install <name> <version>', "install a model from the device's repository")
    .option('--digest <digest>', 'sha256:… of the bundle; any other digest is refused')
    .option('--clear-failed', 'install it even if it failed on this device before')
    .option('--watch', 'wait until the new model is active, or the install has failed')
    .action((name: string, version: string, options: ModelInstallOptions) =>
      select(async (terminal) => (await loadInstalled()).installModel(name, version, options, terminal)),
    );
  for (const [action, description] of [
    ['rollback', 'return to the previous model; needs no network'],
    ['reload', 'restart the active model in a new process, without losing a frame'],
  ] as const)
    addForAgent(action, description).action((options: AgentOptions) =>
      select(async (terminal) => (await loadInstalled()).switchModel(action, options, terminal)),
    );
  addForAgent('abort', 'abort the current install; the previous model stays active').action(
    (options: AgentOptions) =>
      select(async (terminal) => (await loadInstalled()).abortInstall(options, terminal)),
  );
}
