// Loaded before the agent in an emulated container. The agent starts its child processes with an environment of its own;
// this adds the variable that chooses the emulated processor. The default one takes 20 times as long for a model.
import childProcess from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';

const { fork } = childProcess;
childProcess.fork = (path, ...rest) => {
  const args = Array.isArray(rest[0]) ? rest[0] : [];
  const options = Array.isArray(rest[0]) ? rest[1] : rest[0];
  const env = { ...(options?.env ?? process.env), QEMU_CPU: process.env.QEMU_CPU };
  return fork(path, args, { ...options, env });
};
syncBuiltinESMExports();
