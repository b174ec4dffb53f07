import { Option, type Command } from 'commander';
import type { SelectCommand } from '../options.ts';

/** Adds `swellsight fleet …`: many devices over their broker. */
export function addFleetCommands(program: Command, select: SelectCommand): void {
  const fleet = program.command('fleet').description('many devices, over their broker');
  const add = (name: string, description: string): Command =>
    fleet
      .command(name)
      .description(description)
      .requiredOption('--broker <url>', 'mqtt:// or mqtts://')
      .option('--base <topic>', 'mqtt.base of the devices', 'swellsight/v1')
      .option('--to <pattern>', 'site/device with * (or +) and ?; a site alone means all of its devices', '*')
      .option('--username <name>', 'user name for the broker')
      .option('--password-file <file>', 'file of the password (or SWELLSIGHT_BROKER_PASSWORD)')
      .option('--ca <file>', 'CA certificates of the broker, PEM')
      .addOption(new Option('--json', 'print JSON, one line for each change'));

  add('watch', 'show all devices: state, version, model, phase, last heartbeat, degraded codes')
    .option('--once', 'print the current state and exit')
    .action(select(async () => (await import('./watch.ts')).watchFleet));
  add(
    'push [name] [version]',
    'install a model or the agent on many devices in stages; run it again to continue',
  )
    .option('--agent <version>', 'install this version of the agent instead of a model')
    .option('--canary <n>', 'number of devices of the first stage', '1')
    .option('--batch <pct>', 'share of the devices of each further stage, %', '20')
    .option(
      '--halt-on <pct>',
      'start no more installs when more than this share of the started ones failed',
      '10',
    )
    .option(
      '--over <transport...>',
      'mqtt FILE: send the archive of `repo export` (default: devices use their repository)',
    )
    .option(
      '--file <file>',
      'file of the progress (default: rollout-NAME-VERSION.json, NAME is agent with --agent)',
    )
    .option('--digest <digest>', 'sha256:… of the bundle or archive; any other digest is refused')
    .option('--clear-failed', 'install it even where it failed before')
    .option('--wait <minutes>', 'how long to wait for offline devices after all others are done', '0')
    .option('--device-timeout <minutes>', 'a device that takes longer has failed', '180')
    .action(select(async () => (await import('./push.ts')).pushToFleet));
}
