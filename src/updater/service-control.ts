import { execFile, type ExecFileOptions } from 'node:child_process';
import { promisify } from 'node:util';
import { childEnvironment } from '../base/child-environment.ts';
import { AgentError } from '../base/errors.ts';

/** A program that runs as the service user, with limits. */
export interface LimitedProgram {
  readonly program: string;
  readonly args: readonly string[];
  /** Directories that it may write; the rest of the file system is read-only for it. */
  readonly writable: readonly string[];
  readonly maxMemoryMb: number;
  readonly maxSeconds: number;
}

export interface ProgramResult {
  readonly exitCode: number;
  /** The end of what it printed. */
  readonly stdout: string;
  readonly stderr: string;
}

/** What the updater needs from the service manager. */
export interface ServiceControl {
  /** Starts the service again, also after it failed too often. Does not wait until it runs. */
  restart(): Promise<void>;
  /** The timer runs the updater again and again while a trial is on. */
  startTrialTimer(): Promise<void>;
  stopTrialTimer(): Promise<void>;
  /** The ids of the service user. */
  owner(): Promise<{ readonly uid: number; readonly gid: number }>;
  runLimited(program: LimitedProgram, signal: AbortSignal): Promise<ProgramResult>;
  /** Ends a limited program that outlived the updater which started it. */
  stopLimited(): Promise<void>;
}

const SERVICE = 'swellsight.service';
const LIMITED = 'swellsight-preflight.service';
const TRIAL_TIMER = 'swellsight-trial.timer';
/** As for the service, which cannot do without devices and the network. A unit test holds both equal. */
const SANDBOX = [
  'CapabilityBoundingSet=',
  'PrivateUsers=yes',
  'RestrictNamespaces=yes',
  'SystemCallArchitectures=native',
  'SystemCallErrorNumber=EPERM',
  'SystemCallFilter=@system-service',
  'SystemCallFilter=~@privileged @resources @mount @keyring @aio',
  'SystemCallFilter=setpriority',
];
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** Runs a program of the system; the options are those of `execFile`. */
const run = (program: string, args: readonly string[], options: ExecFileOptions = {}) =>
  promisify(execFile)(program, args, {
    ...options,
    env: childEnvironment(process.env, 'program'),
    encoding: 'utf8',
  });

/** systemd, version 249 or later. */
export class Systemd implements ServiceControl {
  readonly #user: string;

  constructor(user = 'swellsight') {
    this.#user = user;
  }

  async restart(): Promise<void> {
    // After too many failures systemd refuses further starts until this.
    await run('systemctl', ['reset-failed', SERVICE]).catch(() => undefined);
    // Do not wait: at boot the service may itself wait for this unit.
    await run('systemctl', ['restart', '--no-block', SERVICE]);
  }

  async startTrialTimer(): Promise<void> {
    await run('systemctl', ['start', '--no-block', TRIAL_TIMER]);
  }

  async stopTrialTimer(): Promise<void> {
    await run('systemctl', ['stop', '--no-block', TRIAL_TIMER]);
  }

  async owner(): Promise<{ readonly uid: number; readonly gid: number }> {
    const { stdout } = await run('getent', ['passwd', this.#user]);
    const [, , uid, gid] = stdout.split(':');
    return { uid: Number(uid), gid: Number(gid) };
  }

  async runLimited(job: LimitedProgram, signal: AbortSignal): Promise<ProgramResult> {
    const properties = [
      `User=${this.#user}`,
      'NoNewPrivileges=yes',
      'PrivateNetwork=yes',
      'PrivateTmp=yes',
      'PrivateDevices=yes',
      'ProtectSystem=strict',
      'ProtectHome=yes',
      'ProtectKernelModules=yes',
      'ProtectKernelTunables=yes',
      'RestrictSUIDSGID=yes',
      ...SANDBOX,
      'Nice=10',
      'TasksMax=128',
      `MemoryMax=${job.maxMemoryMb}M`,
      // Many Raspberry Pi kernels start without the memory controller, so that MemoryMax has no effect. No LimitDATA: V8
      // reserves more than 1 GB. When memory is short, the kernel shall not kill the running agent.
      'OOMScoreAdjust=1000',
      `RuntimeMaxSec=${job.maxSeconds}`,
      'TimeoutStopSec=5',
      ...job.writable.map((dir) => `ReadWritePaths=${dir}`),
      ...(await this.#serviceProperties()),
      // The directory for temporary files of the service exists only while it runs.
      'Environment=TMPDIR=/tmp',
    ];
    const args = [
      '--wait',
      '--pipe',
      '--collect',
      '--quiet',
      '--service-type=exec',
      `--unit=${LIMITED}`,
      ...properties.map((property) => `--property=${property}`),
      '--',
      job.program,
      ...job.args,
    ];
    return runProgram('systemd-run', args, { maxSeconds: job.maxSeconds + 60, signal });
  }

  async stopLimited(): Promise<void> {
    // It fails when there is no such unit, which is the usual case.
    await run('systemctl', ['stop', LIMITED]).catch(() => undefined);
  }

  /** The credentials and the environment of the service, with which it reads its configuration. */
  async #serviceProperties(): Promise<string[]> {
    const { stdout } = await run('systemctl', [
      'show',
      SERVICE,
      '--property=LoadCredential,LoadCredentialEncrypted,Environment,SupplementaryGroups',
    ]);
    // systemd before 250 prints the type of LoadCredential= in brackets instead of its value. The installer has emptied it
    // there (systemd/before-250), because those versions cannot load a directory.
    return stdout.split('\n').filter((line) => /^[A-Za-z]+=[^[]/.test(line));
  }
}

/** Runs a program to its end. An exit status is a result; throws `internal` when the program cannot be started. */
export async function runProgram(
  program: string,
  args: readonly string[],
  { maxSeconds, signal }: { readonly maxSeconds: number; readonly signal: AbortSignal },
): Promise<ProgramResult> {
  try {
    const { stdout, stderr } = await run(program, [...args], {
      timeout: maxSeconds * 1000,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT_BYTES,
      signal,
    });
    return { exitCode: 0, stdout, stderr };
  } catch (error) {
    signal.throwIfAborted();
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code === 'string' && code !== 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
      throw new AgentError('internal', `${program} cannot be started: ${code}`, { cause: error });
    // A program that a signal ended has no status.
    return { exitCode: typeof code === 'number' ? code : 128, stdout: stdout ?? '', stderr: stderr ?? '' };
  }
}
