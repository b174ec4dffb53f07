import { Option, type Command } from 'commander';
import { collectValues, jsonOption, type SelectCommand } from '../options.ts';

const loadCommands = () => import('./send-command.ts');

/** Defaults of the options of a staged command. */
interface StageDefaults {
  readonly canary: string;
  readonly batch: string;
  readonly haltOn: string;
  readonly timeout: string;
}

const STAGED: StageDefaults = { canary: '1', batch: '20', haltOn: '10', timeout: '20' };
/** For commands that change nothing, or that must reach all devices at once. */
const AT_ONCE: StageDefaults = { ...STAGED, canary: '0', batch: '100', haltOn: '100' };

/** Adds `swellsight fleet …`: many devices over their broker. */
export function addFleetCommands(program: Command, select: SelectCommand): void {
  const fleet = program.command('fleet').description('many devices, over their broker');
  const config = fleet.command('config').description('the configuration of many devices');
  const addConnected = (name: string, description: string, parent = fleet): Command =>
    parent
      .command(name)
      .description(description)
      .requiredOption('--broker <url>', 'mqtt:// or mqtts://')
      .option('--base <topic>', 'mqtt.base of the devices', 'swellsight/v1')
      .option('--username <name>', 'user name for the broker')
      .option('--password-file <file>', 'file of the password (or SWELLSIGHT_BROKER_PASSWORD)')
      .option('--ca <file>', 'CA certificates of the broker, PEM')
      .addOption(new Option('--json', 'print JSON, one line for each change'));
  const add = (name: string, description: string, parent = fleet): Command =>
    addConnected(name, description, parent)
      .addOption(
        new Option(
          '--to <selector>',
          'site/device with * (or +) and ?, a site, group:NAME or tag:NAME; repeated for more (default: all devices)',
        ).argParser((value: string, before: readonly string[] | undefined) =>
          collectValues(value, before ?? []),
        ),
      )
      .option('--except <selector>', 'devices to leave out; repeated for more', collectValues, [])
      .option('--fleet <file>', 'file of groups and tags, YAML or JSON5', 'fleet.yaml');
  const addStaged = (
    name: string,
    description: string,
    { canary, batch, haltOn, timeout }: StageDefaults,
    parent = fleet,
  ): Command =>
    add(name, description, parent)
      .option('--canary <n>', 'number of devices of the first stage', canary)
      .option('--batch <pct>', 'share of the devices of each further stage, %', batch)
      .option(
        '--halt-on <pct>',
        'start no more devices when more than this share of the started ones failed',
        haltOn,
      )
      .option('--approve', 'run one stage and end; running the command again approves the next one')
      .option(
        '--window <from-to>',
        'start devices only in this time of day, HH:MM-HH:MM in the zone of each device',
      )
      .option('--retry-failed', 'try again where an earlier run of the same rollout failed')
      .option('--wait <minutes>', 'how long to wait for offline devices after all others are done', '0')
      .option('--device-timeout <minutes>', 'a device that takes longer has failed', timeout);
  const addCommand = (name: string, description: string, defaults: StageDefaults, parent = fleet): Command =>
    addStaged(name, description, defaults, parent)
      .option('--file <file>', 'remember the plan in this file, so that a second run continues')
      .option('--out <dir>', 'write the result of each device into a file');

  add('watch', 'show all devices: state, versions, phase, last heartbeat, degraded codes')
    .option('--once', 'print the current state and exit')
    .option('--all', 'show also devices that left more than --hide-after days ago')
    .option('--hide-after <days>', 'hide devices that have been away for longer', '7')
    .action(select(async () => (await import('./watch.ts')).watchFleet));
  addStaged(
    'push [name] [version]',
    'install a model or the agent on many devices in stages; run it again to continue',
    { ...STAGED, timeout: '180' },
  )
    .option('--agent <version>', 'install this version of the agent instead of a model')
    .option(
      '--over <transport...>',
      'mqtt FILE: send the archive of `repo export` (default: devices use their repository)',
    )
    .option(
      '--file <file>',
      'file of the plan (default: rollout-NAME-VERSION.json, NAME is agent with --agent)',
    )
    .option('--digest <digest>', 'sha256:… of the bundle or archive; any other digest is refused')
    .option('--repo <dir>', 'your repository: send nothing unless it has this version, with --digest')
    .option('--clear-failed', 'install it even where it failed before')
    .action(select(async () => (await import('./push.ts')).pushToFleet));
  addCommand(
    'rollback [name] [version]',
    'return to the previous model, or agent, in stages; with a version, only where it is active',
    { ...STAGED, timeout: '40' },
  )
    .option('--agent [version]', 'return to the previous version of the agent')
    .action(select(async () => (await loadCommands()).rollBackFleet));
  addCommand('abort', 'end the current install of a model', AT_ONCE).action(
    select(async () => (await loadCommands()).fleetCommand('model.abort')),
  );
  addCommand(
    'restart',
    'restart the agents in stages; a device is done when it is online again',
    STAGED,
  ).action(select(async () => (await loadCommands()).fleetCommand('restart')));
  addCommand('diagnostics', 'collect the reports of the devices', AT_ONCE).action(
    select(async () => (await loadCommands()).fleetCommand('diagnostics')),
  );
  addCommand('command <name> [args]', 'send any command; args: an object in JSON5, or a file', STAGED).action(
    select(async () => (await loadCommands()).sendToFleet),
  );
  addCommand('set <patch>', 'change settings on trial; patch: an object in JSON5, or a file', STAGED, config)
    .option('--confirm-within <seconds>', 'a device undoes the change after this time', '3600')
    .action(select(async () => (await loadCommands()).setFleetConfig));
  addCommand('confirm', 'keep the changes that are on trial', AT_ONCE, config).action(
    select(async () => (await loadCommands()).fleetCommand('config.confirm')),
  );
  for (const [name, paused, description] of [
    ['pause', true, 'start no further device of a rollout; its running installs continue'],
    ['resume', false, 'continue a rollout that was paused'],
  ] as const)
    fleet
      .command(`${name} <file>`)
      .description(`${description} (the file of the plan)`)
      .addOption(jsonOption())
      .action(select(async () => (await loadCommands()).pauseRollout(paused)));
  fleet
    .command('serve')
    .description('serve the fleet page, and connect it with a broker that has no WebSocket')
    .requiredOption('--broker <url>', 'mqtt:// or mqtts://, without a login: it is typed into the page')
    .option('--base <topic>', 'mqtt.base of the devices', 'swellsight/v1')
    .option('--ca <file>', 'CA certificates of the broker, PEM')
    .option('--fleet <file>', 'file of groups and tags, YAML or JSON5: the page shows the tags')
    .option('--host <address>', 'address to listen on; the page has no encryption', '127.0.0.1')
    .option('--port <port>', 'port; 0 means any free port', '8088')
    .option('--allow-host <name>', 'further name of this server in the browser', collectValues, [])
    .addOption(jsonOption())
    .action(select(async () => (await import('./serve.ts')).serveFleetPage));
  addConnected('forget <device>', 'clear the retained topics that a device left on the broker: SITE/DEVICE')
    .option('--yes', 'clear them; without it, only list them')
    .option('--force', 'also when the retained status says that the device is online')
    .option(
      '--home-assistant-prefix <topic>',
      'mqtt.homeAssistant.prefix of the device, for its discovery topic',
      'homeassistant',
    )
    .action(select(async () => (await import('./forget.ts')).forgetDevice));
}
