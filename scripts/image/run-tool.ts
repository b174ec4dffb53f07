import { spawnSync } from 'node:child_process';

export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program; buildah at low priority, because builds take all cores, and without namespaces and a daemon. */
export function tryTool(command: string, args: readonly string[], timeoutMs = 120_000): ToolResult {
  const commandLine = command === 'buildah' ? ['nice', '-n', '10', command, ...args] : [command, ...args];
  const [program = '', ...programArgs] = commandLine;
  const { status, stdout, stderr, error } = spawnSync(program, programArgs, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: { ...process.env, BUILDAH_ISOLATION: 'chroot' },
  });
  return {
    exitCode: status ?? -1,
    stdout,
    stderr: error === undefined ? stderr : `${stderr}${error.message}`,
  };
}

/** Returns the standard output. Throws with the end of the output when the program fails. */
export function runTool(command: string, args: readonly string[], timeoutMs?: number): string {
  const { exitCode, stdout, stderr } = tryTool(command, args, timeoutMs);
  if (exitCode !== 0) {
    const end = `${stdout}\n${stderr}`.trim().split('\n').slice(-25).join('\n');
    throw new Error(`${command} ${args.slice(0, 3).join(' ')} exited with ${exitCode}\n${end}`);
  }
  return stdout;
}
