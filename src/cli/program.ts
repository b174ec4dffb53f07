import { Command, CommanderError, Option } from 'commander';
import { asAgentError, isAbort } from '../base/errors.ts';
import { addAgentCommands, addAgentOptions } from './agent/commands.ts';
import { dropAmbientCapabilities } from './ambient-capabilities.ts';
import { addFleetCommands } from './fleet/commands.ts';
import { addConfigCommands } from './config/commands.ts';
import { readAgentVersion } from './installation.ts';
import { bad, line } from './line.ts';
import { addModelCommands } from './model/commands.ts';
import { collectValues, configOption, jsonOption, modelOption, type SelectCommand } from './options.ts';
import { addRepoCommands } from './repo/commands.ts';
import { createSignalHandler, HangUp, onNpmEnd, STOP_SIGNALS } from './signals.ts';
import { EXIT, exitCodeOf, processTerminal, toJson, type Terminal } from './terminal.ts';

/**
 * Runs one command line; `argv` as in `process.argv`. Resolves with the exit code and never rejects: it prints an error and
 * its hint on standard error, with `--json` as a JSON document.
 */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const stop = new AbortController();
  const hangUp = new HangUp();
  const stopOnSignal = createSignalHandler({ stop, hangUp, hasTerminal: process.stdin.isTTY });
  for (const signal of STOP_SIGNALS) process.on(signal, stopOnSignal);
  onNpmEnd(env, () => stop.abort());
  // A reader such as `head` may close the pipe early.
  process.stdout.on('error', ignoreClosedPipe);
  const terminal = processTerminal(env, stop.signal, hangUp);
  let selected: (() => Promise<number>) | null = null;
  const program = createProgram((load) => (...args) => {
    selected = async () => {
      const run = (await load()) as (...all: unknown[]) => Promise<number>;
      // The last argument of an action is the command object.
      return run(...args.slice(0, -1), terminal);
    };
  });
  try {
    await dropAmbientCapabilities();
    await program.parseAsync(argv);
    const run = selected as (() => Promise<number>) | null;
    return run === null ? EXIT.usage : await run();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (isAbort(thrown) && stop.signal.aborted) return 130;
    return printError(thrown, argv.includes('--json'), terminal);
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, stopOnSignal);
  }
}

function printError(thrown: unknown, asJson: boolean, terminal: Terminal): number {
  const error = asAgentError(thrown);
  const { code, message, hint } = error;
  if (asJson) terminal.err(toJson({ error: { code, message, hint } }));
  else {
    // Indent further lines: text of other parties must not look like a line of the command.
    const [first = '', ...further] = message.split('\n');
    terminal.err([line`${bad('swellsight:')} ${first}`, ...[...further, hint].map((text) => `  ${text}`)]);
  }
  return exitCodeOf(error);
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

function createProgram(select: SelectCommand): Command {
  const program = new Command('swellsight')
    .description('Measures wave heights from a fixed surf camera, on the device.')
    .version(readAgentVersion())
    .exitOverride()
    .showHelpAfterError('(--help lists commands and options)')
    .showSuggestionAfterError();
  const add = (name: string, description: string): Command => program.command(name).description(description);

  add('run', 'run the agent')
    .addOption(configOption())
    .option('--pretty', 'print log lines for people instead of JSON (default on a terminal)')
    .action(select(async () => (await import('./run.ts')).runAgent));
  add('check-config', 'check the configuration and print all faults')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(select(async () => (await import('./config.ts')).checkConfig));
  addConfigCommands(program, select);
  add('doctor', 'check everything that the agent needs, and print how to fix faults')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(select(async () => (await import('./doctor/command.ts')).runDoctor));
  addAgentOptions(
    add('diagnostics', 'write one archive without secrets, for a report of a fault').option(
      '--out <file>',
      'the archive (default: a new file in TMPDIR)',
    ),
  ).action(select(async () => (await import('./diagnostics/command.ts')).writeDiagnostics));
  addAgentCommands(program, select);
  add('analyze <files...>', 'measure wave heights in images (files or directories)')
    .option('--calibration <file>', 'site calibration; there are no heights without one')
    .option('--csv', 'print CSV')
    .addOption(jsonOption())
    .addOption(modelOption())
    .addOption(configOption())
    .action(select(async () => (await import('./analyze.ts')).runAnalyze));
  add('sea-state <input>', 'measure the wave period in a video, a directory of frames, or a time stack')
    .option('--fps <n>', 'frames per second of the camera (default: as the file states)')
    .option('--timestack', 'the input is an image with time along x and a line over the water along y')
    .option('--window <s>', 'divide longer input into windows of this length (default: 512; time stack 2048)')
    .option(
      '--line <x1,y1,x2,y2>',
      'use only this line from the sea to the shore, as shares of width and height (repeatable)',
      collectValues,
      [],
    )
    .option(
      '--pose <file>',
      'pose of the camera from calibrate-camera: measures the height of the breakers too',
    )
    .option('--tide <m>', 'level of the water in the heights of the pose, metres')
    .option('--plot <file>', 'draw the time stack and the spectrum: a PNG or SVG file')
    .addOption(jsonOption())
    .action(select(async () => (await import('./sea-state/command.ts')).runSeaState));
  add(
    'calibrate-camera <points>',
    'find position and direction of a camera from control points (CSV: x, y, z, u, v)',
  )
    .option('--lens <file>', 'lens model of OpenCV: camera_matrix and distortion_coefficients, JSON')
    .option('--size <WIDTHxHEIGHT>', 'size of the image in which u and v were measured')
    .option('--out <file>', 'write the pose as JSON')
    .addOption(jsonOption())
    .action(select(async () => (await import('./geometry/calibrate-camera.ts')).runCalibrateCamera));
  add('calibrate <dir>', 'compute a site calibration from labelled images')
    .requiredOption(
      '--labels <file>',
      'CSV: file, camera, burst, group, height_m (or height, unit, scale), tide_m, day',
    )
    .option('--camera <id>', 'only this camera of the file')
    .option('--out <file>', 'write the calibration as JSON')
    .option('--frames <n>', 'number of frames of each burst, or all', 'all')
    .addOption(
      new Option(
        '--hold-out <what>',
        'what the validation leaves out together: the column group or day, or half a metre of tide_m',
      )
        .choices(['group', 'day', 'tide'])
        .default('group'),
    )
    .option('--no-gated', 'leave out frames that the quality gate rejects')
    .addOption(jsonOption())
    .addOption(modelOption())
    .addOption(configOption())
    .action(select(async () => (await import('./calibrate/command.ts')).runCalibrate));
  addModelCommands(program, select);
  addRepoCommands(program, select);
  addFleetCommands(program, select);
  add('bench', 'measure speed and memory of this machine against a minimal reference (takes minutes)')
    .option('--json-file <file>', 'also write the table as JSON')
    .option('--only <part>', 'frame, load, start, idle, drain, swap or http')
    .action(select(async () => (await import('./bench.ts')).runBench));
  return program;
}
