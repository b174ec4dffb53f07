import { Option, type Command } from 'commander';
import type { PushOptions } from './push.ts';
import type { WatchOptions } from './watch.ts';
import type { Terminal } from '../terminal.ts';

type Choose = (action: (terminal: Terminal) => Promise<number>) => void;

/** The commands of `swellsight fleet`; `make` makes one of the group. */
export function registerFleet(make: (name: string, text: string) => Command, choose: Choose): void {
  const command = (name: string, text: string): Command =>
    make(name, text)
      .requiredOption('--broker <url>', 'mqtt:// or mqtts://')
      .option('--base <topic>', 'mqtt.base of the devices', 'swellsight/v1')
      .option('--to <pattern>', 'site/device with * (or +) and ?; a site alone is all of it', '*')
      .option('--username <name>')
      .option('--password-file <file>', 'or SWELLSIGHT_BROKER_PASSWORD')
      .option('--ca <file>', 'PEM, for a broker with a certificate of your own')
      .addOption(new Option('--json', 'print JSON, a line for each change'));

  command('watch', 'all devices: state, model, phase, last heartbeat, what is degraded')
    .option('--once', 'what there is now, and end')
    .action((options: WatchOptions) =>
      choose(async (terminal) => (await import('./watch.ts')).fleetWatch(options, terminal)),
    );
  command('push <name> <version>', 'install a model on many devices, step by step; run it again to go on')
    .option('--canary <n>', 'devices that go first', '1')
    .option('--batch <pct>', 'of the devices, at a time, after those', '20')
    .option('--halt-on <pct>', 'begin nothing more when more than this share of the begun ones failed', '10')
    .option(
      '--over <way...>',
      'mqtt FILE: send the file that `repo export` made; from the repository otherwise',
    )
    .option('--file <file>', 'where it is kept how far it is (default: rollout-NAME-VERSION.json)')
    .option('--digest <digest>', 'sha256:… of the bundle: another one is refused')
    .option('--clear-failed', 'also where it failed before')
    .option('--wait <minutes>', 'for devices that are away, when all others are done', '0')
    .option('--device-timeout <minutes>', 'a device that takes longer has failed', '180')
    .action((name: string, version: string, options: PushOptions) =>
      choose(async (terminal) => (await import('./push.ts')).fleetPush(name, version, options, terminal)),
    );
}
