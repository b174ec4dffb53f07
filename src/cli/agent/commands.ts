import { Option, type Command } from 'commander';
import { configOption, jsonOption, type SelectCommand } from '../options.ts';
import { DEFAULT_URL } from './client.ts';

const loadStatus = () => import('./status.ts');
const loadObservations = () => import('./observations.ts');
const loadVersions = () => import('./versions.ts');

/** Adds the options of a command that sends requests to a running agent. */
export const addAgentOptions = (command: Command): Command =>
  command
    .option('--url <url>', `address of the agent (or SWELLSIGHT_URL; default: ${DEFAULT_URL})`)
    .addOption(
      new Option(
        '-c, --config <file>',
        'configuration file of the agent, for its address and token (or SWELLSIGHT_CONFIG)',
      ),
    )
    .option('--token-file <file>', 'file of its bearer token (or SWELLSIGHT_TOKEN, SWELLSIGHT_TOKEN_FILE)')
    .option('--token <token>', 'its bearer token; other users of this machine can see it')
    .addOption(jsonOption());

/** Adds the commands that send requests to a running agent, except those of `model`. */
export function addAgentCommands(program: Command, select: SelectCommand): void {
  const add = (name: string, description: string): Command =>
    addAgentOptions(program.command(name).description(description));

  add('status', 'show the state of the agent').action(select(async () => (await loadStatus()).showStatus));
  add('health', 'show ok, degraded or failed, with the reasons').action(
    select(async () => (await loadStatus()).showHealth),
  );
  add('outbox', 'show messages that wait for the broker, and messages that it rejected').action(
    select(async () => (await loadStatus()).showOutbox),
  );
  add('capture <camera>', 'make one observation now')
    .option('--sea-state', 'measure the wave period in one clip instead, which takes some minutes')
    .option('--duration <s>', 'with --sea-state: length of the clip (default: seaState.durationS)')
    .action(select(async () => (await loadObservations()).captureObservation));
  add('observations', 'list observations, newest first')
    .option('--camera <id>', 'only this camera')
    .option('--from <time>', 'ISO 8601')
    .option('--to <time>', 'ISO 8601')
    .addOption(new Option('--status <status>').choices(['measured', 'rejected', 'failed', 'skipped']))
    .option('--limit <n>', 'at most 1000', '20')
    .option('--cursor <cursor>', 'the cursor of the next page')
    .action(select(async () => (await loadObservations()).listObservations));
  add('label [observation] [height_m]', 'set the height that a person saw in an observation')
    .option('--camera <id>', 'its camera (default: search the newest observations)')
    .option('--latest <camera>', 'instead of an observation: the newest measured one of this camera')
    .option('--observer <name>', 'name of the person')
    .option('--note <text>', 'a note for the label')
    .addOption(new Option('--unit <unit>', 'of the height (default: m)').choices(['m', 'ft']))
    .addOption(
      new Option('--scale <scale>', 'face: from trough to crest (default); hawaiian: half of it').choices([
        'face',
        'hawaiian',
      ]),
    )
    .option('--tide <m>', 'the tide at that time, metres')
    .option('--remove', 'remove the label')
    .action(select(async () => (await loadObservations()).labelObservation));

  addVersionCommands(
    program.command('agent').description('the versions of the agent on this device'),
    select,
  );
}

/** Adds `swellsight agent …`. */
function addVersionCommands(agent: Command, select: SelectCommand): void {
  const add = (name: string, description: string): Command => agent.command(name).description(description);

  addAgentOptions(add('list', 'show the versions, the current or last update, and banned versions')).action(
    select(async () => (await loadVersions()).listVersions),
  );
  addAgentOptions(add('install <version>', "install a version of the agent from the device's repository"))
    .option('--digest <digest>', 'sha256:… of the archive; any other digest is refused')
    .option('--watch', 'wait until the version is confirmed, or the update has failed')
    .action(select(async () => (await loadVersions()).installVersion));
  addAgentOptions(add('rollback', 'return to the former version; needs no network'))
    .option('--watch', 'wait until the former version is confirmed')
    .action(select(async () => (await loadVersions()).rollbackVersion));
  add('preflight', 'check whether this version can run on this device; the updater runs it')
    .addOption(configOption())
    .requiredOption('--state-copy <dir>', 'an empty directory for a copy of the database')
    .action(select(async () => (await import('./preflight.ts')).runPreflight));
}
