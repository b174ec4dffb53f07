import { Command, CommanderError, Option } from 'commander';
import { asAgentError, isAbort } from '../base/errors.ts';
import type { AgentOptions, LabelOptions, ObservationsOptions } from './agent-commands.ts';
import type { AnalyzeOptions } from './analyze.ts';
import type { CalibrateCommandOptions } from './calibrate/calibrate.ts';
import { DEFAULT_URL } from './client.ts';
import type { DoctorOptions } from './doctor/doctor.ts';
import { registerFleet } from './fleet/fleet.ts';
import { registerModelAgent } from './model/agent-commands.ts';
import { registerModel } from './model/model.ts';
import type { BenchOptions } from './bench.ts';
import { addRepoCommands } from './repo/repo.ts';
import type { RunOptions } from './run.ts';
import type { ConfigOptions } from './settings.ts';
import { EXIT, exitCodeOf, jsonText, paint, processTerminal, type Terminal } from './terminal.ts';
import { agentVersion } from './version.ts';

/** What a command hands back is the exit code. */
type Action = (terminal: Terminal) => Promise<number>;

const config = () => new Option('-c, --config <file>', 'configuration, JSON5 or YAML (or SWELLSIGHT_CONFIG)');
const json = () => new Option('--json', 'print JSON');
const model = () => new Option('--model <dir>', 'model bundle; the configured one otherwise');

/**
 * Runs one command line; `argv` as in `process.argv`. Resolves with the exit code and never rejects: failures are one
 * line with the hint on standard error, or a JSON document with `--json`.
 */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  // A reader that goes away, such as `head`, is no failure of the command.
  process.stdout.on('error', ignoreClosedPipe);
  const terminal = processTerminal(env, stop.signal);
  let action: Action | null = null;
  const program = commandTree((chosen) => (action = chosen));
  try {
    await program.parseAsync(argv);
    const run = action as Action | null;
    return run === null ? EXIT.usage : await run(terminal);
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (isAbort(thrown) && stop.signal.aborted) return 130;
    return report(thrown, argv.includes('--json'), terminal);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function report(thrown: unknown, asJson: boolean, terminal: Terminal): number {
  const error = asAgentError(thrown);
  const { code, message, hint } = error;
  if (asJson) terminal.err(jsonText({ error: { code, message, hint } }));
  else terminal.err(`${paint(terminal.colour.err).bad('swellsight:')} ${message}\n  ${hint}`);
  return exitCodeOf(error);
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

function commandTree(choose: (action: Action) => void): Command {
  const program = new Command('swellsight')
    .description('Reads wave heights from a fixed surf camera, on the device.')
    .version(agentVersion())
    .exitOverride()
    .showHelpAfterError('(--help lists what there is)')
    .showSuggestionAfterError();
  const command = (name: string, text: string): Command =>
    program.command(name).description(text).exitOverride().copyInheritedSettings(program);
  const toAgent = (made: Command): Command =>
    made
      .option('--url <url>', `address of the agent (or SWELLSIGHT_URL; ${DEFAULT_URL})`)
      .option('--token-file <file>', 'its bearer token (or SWELLSIGHT_TOKEN, SWELLSIGHT_TOKEN_FILE)')
      .option('--token <token>', 'the same in the open: other users of this machine can see it')
      .addOption(json());
  const ofAgent = (name: string, text: string): Command => toAgent(command(name, text));

  command('run', 'run the agent')
    .addOption(config())
    .option('--pretty', 'lines for people instead of JSON; by itself on a terminal')
    .action((options: RunOptions) =>
      choose(async (terminal) => (await import('./run.ts')).runAgent(options, terminal)),
    );
  command('bench', 'speed and memory of this machine beside a bare reference (minutes)')
    .option('--json-file <file>', 'also write the table as JSON')
    .option('--only <part>', 'frame, load, start, idle, drain, swap or http')
    .action((options: BenchOptions) =>
      choose(async (terminal) => (await import('./bench.ts')).bench(options, terminal)),
    );
  command('check-config', 'check the configuration; every fault at once')
    .addOption(config())
    .addOption(json())
    .action((options: ConfigOptions & { json?: boolean }) =>
      choose(async (terminal) => (await import('./check-config.ts')).checkConfig(options, terminal)),
    );
  ofAgent('status', 'what the running agent is doing').action((options: AgentOptions) =>
    choose(async (terminal) => (await import('./agent-commands.ts')).status(options, terminal)),
  );
  ofAgent('health', 'ok, degraded or failed, and why').action((options: AgentOptions) =>
    choose(async (terminal) => (await import('./agent-commands.ts')).health(options, terminal)),
  );
  ofAgent('capture <camera>', 'one observation now').action((camera: string, options: AgentOptions) =>
    choose(async (terminal) => (await import('./agent-commands.ts')).capture(camera, options, terminal)),
  );
  ofAgent('observations', 'history, newest first')
    .option('--camera <id>')
    .option('--from <time>', 'ISO 8601')
    .option('--to <time>', 'ISO 8601')
    .addOption(new Option('--status <status>').choices(['measured', 'rejected', 'failed', 'skipped']))
    .option('--limit <n>', 'at most 1000', '20')
    .option('--cursor <cursor>', 'the page after')
    .action((options: ObservationsOptions) =>
      choose(async (terminal) => (await import('./agent-commands.ts')).observations(options, terminal)),
    );
  ofAgent('outbox', 'what waits for the broker, and what it would not take').action((options: AgentOptions) =>
    choose(async (terminal) => (await import('./outbox.ts')).outbox(options, terminal)),
  );
  ofAgent('label <observation> [height_m]', "a person's reading of an observation")
    .option('--camera <id>', 'its camera; looked up otherwise')
    .option('--observer <name>')
    .option('--note <text>')
    .option('--remove', 'take the label back')
    .action((id: string, height: string | undefined, options: LabelOptions) =>
      choose(async (terminal) => (await import('./agent-commands.ts')).label(id, height, options, terminal)),
    );
  command('doctor', 'look at everything that the agent needs; how to mend what is wrong')
    .addOption(config())
    .addOption(json())
    .action((options: DoctorOptions) =>
      choose(async (terminal) => (await import('./doctor/doctor.ts')).doctor(options, terminal)),
    );
  command('analyze <files...>', 'heights of pictures: files and folders')
    .option('--calibration <file>', 'site calibration; without one there are no heights')
    .option('--csv', 'print CSV')
    .addOption(json())
    .addOption(model())
    .addOption(config())
    .action((files: string[], options: AnalyzeOptions) =>
      choose(async (terminal) => (await import('./analyze.ts')).analyze(files, options, terminal)),
    );
  command('calibrate <dir>', 'a site calibration from labelled pictures')
    .requiredOption('--labels <file>', 'CSV: file, camera, burst, group, height_m')
    .option('--camera <id>', 'only this camera of the file')
    .option('--out <file>', 'write the calibration as JSON')
    .option('--frames <n>', 'frames of each burst, or all', 'all')
    .option('--no-gated', 'leave out frames that the quality gate rejects')
    .addOption(json())
    .addOption(model())
    .addOption(config())
    .action((dir: string, options: CalibrateCommandOptions) =>
      choose(async (terminal) =>
        (await import('./calibrate/calibrate.ts')).calibrate(dir, options, terminal),
      ),
    );
  addRepoCommands(program, choose);
  const models = command('model', 'bundles, and which of them a running agent uses');
  const ofModel = (name: string, text: string): Command =>
    models.command(name).description(text).exitOverride().copyInheritedSettings(program);
  registerModel(ofModel, choose);
  registerModelAgent((name, text) => toAgent(ofModel(name, text)), choose);
  const fleet = command('fleet', 'many devices, over their broker');
  registerFleet(
    (name, text) => fleet.command(name).description(text).exitOverride().copyInheritedSettings(program),
    choose,
  );
  return program;
}
