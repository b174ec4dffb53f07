// Installs a build of onnxruntime for the GPU of a Jetson:
//   node scripts/jetson/install-runtime.ts DIRECTORY [--modules NODE_MODULES]
// DIRECTORY has the five files of docs/providers.md. Nothing is changed unless all of them fit.
import { closeSync, copyFileSync, openSync, readFileSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { exit, stderr, stdout } from 'node:process';
import { parseArgs } from 'node:util';
import {
  GPU_RUNTIME_FILES,
  missingGpuFiles,
  readInterfaceVersions,
} from '../../src/vision/providers/runtime-files.ts';

/** Offsets and values of a 64-bit little-endian file. Source: elf(5). */
const ELF = { magic: '7f454c4602', machineAt: 18, aarch64: 183 };

/** What is wrong with the files in `directory`, one line each; empty if they can be installed beside `version`. */
export function findRuntimeFaults(directory: string, version: string): readonly string[] {
  const missing = missingGpuFiles(directory);
  const foreign = GPU_RUNTIME_FILES.filter((name) => !missing.includes(name)).filter(
    (name) => !isAarch64(join(directory, name)),
  );
  const { binding, library } = readInterfaceVersions(directory);
  const versions = { 'onnxruntime_binding.node': binding, 'libonnxruntime.so.1': library };
  return [
    ...missing.map((name) => `${name} is missing`),
    ...foreign.map((name) => `${name} is no program file for 64-bit ARM`),
    ...Object.entries(versions)
      .filter(([name, found]) => !missing.includes(name as never) && found !== version)
      .map(([name, found]) => `${name} is of version ${found ?? 'unknown'}, needed is ${version}`),
  ];
}

function isAarch64(path: string): boolean {
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  try {
    readSync(file, header, 0, header.length, 0);
  } finally {
    closeSync(file);
  }
  return header.toString('hex').startsWith(ELF.magic) && header.readUInt16LE(ELF.machineAt) === ELF.aarch64;
}

/** Copies the files, each by a rename. Returns the faults instead if there are any. */
export function installRuntime(directory: string, modules: string): readonly string[] {
  const packageDirectory = join(modules, 'onnxruntime-node');
  const { version } = JSON.parse(readFileSync(join(packageDirectory, 'package.json'), 'utf8')) as {
    version: string;
  };
  const faults = findRuntimeFaults(directory, version);
  if (faults.length > 0) return faults;
  const target = join(packageDirectory, 'bin', 'napi-v6', 'linux', 'arm64');
  for (const name of GPU_RUNTIME_FILES) copyFileSync(join(directory, name), join(target, `.new-${name}`));
  for (const name of GPU_RUNTIME_FILES) renameSync(join(target, `.new-${name}`), join(target, name));
  return [];
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { modules: { type: 'string', default: 'node_modules' } },
    allowPositionals: true,
  });
  const [directory] = positionals;
  if (directory === undefined) {
    stderr.write('usage: install-runtime.ts DIRECTORY [--modules NODE_MODULES]\n');
    exit(2);
  }
  const faults = installRuntime(directory, values.modules);
  if (faults.length > 0) {
    stderr.write(`${faults.join('\n')}\n`);
    exit(1);
  }
  stdout.write(`installed ${String(GPU_RUNTIME_FILES.length)} files; restart the agent\n`);
}
