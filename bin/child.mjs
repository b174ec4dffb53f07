// Runs a program in place of this process where the platform cannot replace a process. Plain JavaScript: an old Node runs it.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const PARENT_CHECK_MS = 500;

/**
 * Starts the program, hands SIGTERM and SIGHUP on to it, and exits with its code. A terminal sends Ctrl-C to both. npm and
 * the shell between do not hand signals on: when the parent of this process ends, the program gets SIGTERM. With `ready`,
 * the program gets the message `ready` when that promise has resolved, and SIGTERM when it rejects.
 */
export function runChild(program, args, env, { ready } = {}) {
  const stdio = ['inherit', 'inherit', 'inherit', ...(ready ? ['ipc'] : [])];
  const child = spawn(program, args, { stdio, env });
  ready?.then(
    () => child.connected && child.send('ready'),
    () => child.kill('SIGTERM'),
  );
  process.on('SIGINT', () => {});
  let isStopping = false;
  for (const signal of ['SIGTERM', 'SIGHUP'])
    process.on(signal, () => {
      isStopping ||= signal === 'SIGTERM';
      child.kill(signal);
    });
  // A second SIGTERM after two seconds would force the exit.
  onParentEnd(() => {
    if (!isStopping) child.kill('SIGTERM');
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? 'SIGTERM']));
}

/** Calls back once when the parent of this process has ended, if npm started this process. */
function onParentEnd(callback) {
  if (process.env.npm_execpath === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    callback();
  }, PARENT_CHECK_MS);
  timer.unref();
}
