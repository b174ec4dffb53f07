import type { Command } from 'commander';
import { addAgentOptions } from '../agent/commands.ts';
import { configOption, jsonOption, type SelectCommand } from '../options.ts';

/** Adds `swellsight config …`. */
export function addConfigCommands(program: Command, select: SelectCommand): void {
  const config = program.command('config').description('the settings in force and their sources');
  const keyHelp = 'a key such as heartbeat.intervalS, a group, or cameras.ID';

  config
    .command('show')
    .description('show each setting with its source: default, file, environment or remote command')
    .argument('[key]', keyHelp)
    .addOption(configOption())
    .addOption(jsonOption())
    .action(select(async () => (await import('./show.ts')).showConfig));
  addAgentOptions(
    config
      .command('drop')
      .description(
        'remove the settings of remote commands: those of one key, or all; file and environment apply',
      )
      .argument('[key]', keyHelp),
  ).action(select(async () => (await import('./drop.ts')).dropConfig));
}
