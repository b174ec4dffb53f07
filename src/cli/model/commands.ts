import type { Command } from 'commander';
import { addAgentOptions } from '../agent/commands.ts';
import { configOption, jsonOption, type SelectCommand } from '../options.ts';

const loadInstalled = () => import('./installed.ts');

/** Adds `swellsight model …`: model bundles, and the models of a running agent. */
export function addModelCommands(program: Command, select: SelectCommand): void {
  const models = program.command('model').description('model bundles, and the models of a running agent');
  const add = (name: string, description: string): Command => models.command(name).description(description);
  const addForAgent = (name: string, description: string): Command => addAgentOptions(add(name, description));

  add('pack <dir>', 'pack a bundle into one archive; the same files give the same bytes')
    .option('--out <file>', 'the archive (default: name-version.tar in the working directory)')
    .addOption(jsonOption())
    .action(select(async () => (await import('./bundle.ts')).packModel));
  add('inspect <path>', 'show the content and all faults of a bundle (directory or .tar)')
    .addOption(jsonOption())
    .action(select(async () => (await import('./bundle.ts')).inspectModel));
  add('test <path>', 'run a bundle (directory or .tar) on this machine: golden outputs, providers, times')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(select(async () => (await import('./test.ts')).testModel));

  addForAgent('list', 'show the slots, the current or last install, and refused models').action(
    select(async () => (await loadInstalled()).listModels),
  );
  addForAgent('install <name> <version>', "install a model from the device's repository")
    .option('--digest <digest>', 'sha256:… of the bundle; any other digest is refused')
    .option('--clear-failed', 'install it even if it failed on this device before')
    .option('--watch', 'wait until the new model is active, or the install has failed')
    .action(select(async () => (await loadInstalled()).installModel));
  for (const [action, description] of [
    ['rollback', 'return to the previous model; needs no network'],
    ['reload', 'restart the active model in a new process, without losing a frame'],
  ] as const)
    addForAgent(action, description).action(select(async () => (await loadInstalled()).switchModel(action)));
  addForAgent('abort', 'abort the current install; the previous model stays active').action(
    select(async () => (await loadInstalled()).abortInstall),
  );
}
