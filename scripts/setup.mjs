// Set-up before each task: Node, npm packages, Debian packages, build. Plain JavaScript, because an old Node runs it.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The oldest major version of Node that the project supports, from `engines` in package.json. */
const NODE_MINIMUM = Number(
  /\d+/.exec(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node)[0],
);
/** The version that set-up fetches where the machine's own Node is older, and that packages contain. */
export const NODE_VERSION = '24.21.0';
/**
 * npm's integrity of the package `node-{platform}-{architecture}` of that version. The packages of the Node runtime are no
 * dependencies, so their digests are here and not in package-lock.json.
 */
export const NODE_INTEGRITY = {
  'linux-x64':
    'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  'linux-arm64':
    'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

const SYSTEM_PACKAGES = {
  camera: ['ffmpeg'],
  test: [
    'mosquitto',
    'mosquitto-clients',
    'nats-server',
    'rabbitmq-server',
    'prometheus',
    'python3-jinja2',
    'strace',
    'nftables',
    'iproute2',
    'e2fsprogs',
    'xfsprogs',
    'openssl',
    'curl',
    'python3-paho-mqtt',
    'python3-gi',
    'gir1.2-gst-rtsp-server-1.0',
    'gstreamer1.0-plugins-base',
    'gstreamer1.0-plugins-good',
    'gstreamer1.0-plugins-ugly',
    'python3-torch',
    'python3-onnx',
    'libonnx-testdata',
    'chromium',
    'shellcheck',
    'mmdebstrap',
    'systemd-container',
    'bindfs',
  ],
  image: [
    'buildah',
    'podman',
    'conmon',
    'runc',
    'netavark',
    'mmdebstrap',
    'qemu-user-static',
    'binfmt-support',
  ],
  // The emulator of single arm64 programs, and the C and C++ libraries of Debian 12 for them. The emulator of machines, and
  // what makes a disk for one.
  board: [
    'qemu-user-static',
    'binfmt-support',
    'libc6-arm64-cross',
    'libgcc-s1-arm64-cross',
    'libstdc++6-arm64-cross',
    'iproute2',
    'qemu-system-arm',
    'mmdebstrap',
    'e2fsprogs',
  ],
};

const print = (line) => process.stderr.write(`setup: ${line}\n`);

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: ['ignore', 2, 2], cwd: root, ...options });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`${command} ${args.join(' ')} exited with ${result.status ?? result.signal}`);
  return result;
}

/** Runs npm under a given Node: the npm that started this process if any, else the one next to that Node or on PATH. */
export function npm(node, args, options = {}) {
  const cli = process.env.npm_execpath;
  // npm passes its settings to child processes in the environment, where they override the project's .npmrc.
  const ofNpm = /^npm_(config_(?!registry|userconfig|cache|cafile)|package_|lifecycle_)/i;
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !ofNpm.test(key))),
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
    ONNXRUNTIME_NODE_INSTALL_CUDA: 'skip',
  };
  return cli && /\.c?js$/.test(cli)
    ? run(node, [cli, ...args], { ...options, env })
    : run('npm', args, { ...options, env });
}

/** @returns {string} path of a Node that is new enough */
export function ensureNode() {
  if (Number.parseInt(process.versions.node, 10) >= NODE_MINIMUM) return process.execPath;
  const platform = `${process.platform}-${process.arch}`;
  const directory = join(root, '.tools', 'node');
  const binary = nodeBinary(directory, platform);
  const manifest = join(dirname(dirname(binary)), 'package.json');
  if (existsSync(binary) && JSON.parse(readFileSync(manifest, 'utf8')).version === NODE_VERSION)
    return binary;
  const integrity = NODE_INTEGRITY[platform];
  if (integrity === undefined)
    throw new Error(
      `Node ${process.versions.node} is too old; install Node ${NODE_MINIMUM} or later (set-up fetches it only for ${Object.keys(NODE_INTEGRITY).join(' and ')})`,
    );
  print(`Node ${process.versions.node} is too old, fetching ${NODE_VERSION} into .tools (about 185 MB)`);
  return fetchNode(directory, platform, integrity);
}

const nodeBinary = (directory, platform) =>
  join(directory, 'node_modules', `node-${platform}`, 'bin', 'node');

/**
 * Fetches the package of the Node runtime into `directory`. npm refuses a package with another integrity, because it is
 * stated in a lock file. Returns the path of the binary.
 */
export function fetchNode(directory, platform, integrity) {
  const name = `node-${platform}`;
  const dependencies = { [name]: NODE_VERSION };
  const lock = {
    name: 'node-runtime',
    lockfileVersion: 3,
    packages: { '': { dependencies }, [`node_modules/${name}`]: { version: NODE_VERSION, integrity } },
  };
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ private: true, dependencies }));
  writeFileSync(join(directory, 'package-lock.json'), JSON.stringify(lock));
  npm(process.execPath, ['ci', '--prefix', directory, '--ignore-scripts', '--no-audit', '--no-fund']);
  return nodeBinary(directory, platform);
}

export function ensurePackages(node) {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const key = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(version)
    .digest('hex');
  const stamp = join(root, 'node_modules', '.setup-stamp');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  // `npm ci` empties the directory behind a link, which other checkouts may use.
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) {
    print('node_modules is a link: not installing npm packages');
    return;
  }
  print('installing npm packages');
  npm(node, ['ci', '--no-audit', '--no-fund']);
  writeFileSync(stamp, key);
}

/** Time of the latest modification of a file in the directory, ms. */
function newestMtimeMs(directory) {
  let latestMs = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile())
      latestMs = Math.max(latestMs, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs);
  }
  return latestMs;
}

export function ensureBuild(node) {
  const stamp = join(root, 'dist', '.built');
  const sourcesMs = Math.max(
    newestMtimeMs(join(root, 'src')),
    ...['tsconfig.json', 'tsconfig.build.json', 'scripts/build-web.mjs'].map(
      (name) => statSync(join(root, name)).mtimeMs,
    ),
  );
  if (existsSync(stamp) && statSync(stamp).mtimeMs > sourcesMs) return;
  print('building');
  run(node, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']);
  run(node, [join(root, 'scripts', 'copy-assets.mjs')]);
  run(node, [join(root, 'scripts', 'build-web.mjs')]);
  writeFileSync(stamp, '');
}

/** Prevents Debian from starting installed brokers as services: they would take the agent's ports. */
async function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return await install();
  } finally {
    rmSync(policy);
  }
}

/** One process for both commands: the caller may block this process meanwhile. */
function installWithApt(names) {
  const script = 'apt-get -q update && apt-get -q -y --no-install-recommends install "$@"';
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script, 'sh', ...names], { stdio: ['ignore', 2, 2], env });
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`apt-get exited with ${code ?? signal}`)),
    );
  });
}

/**
 * Installs Debian packages as root; prints the missing ones for other users and other systems. The packages are installed
 * when the promise resolves.
 */
export async function ensureSystemPackages(groups) {
  if (groups.length === 0) return;
  if (process.platform !== 'linux' || spawnSync('dpkg-query', ['--version']).status !== 0) {
    print(
      `not a Debian system: install ${groups.flatMap((group) => SYSTEM_PACKAGES[group]).join(', ')} yourself`,
    );
    return;
  }
  const wanted = groups.flatMap((group) => SYSTEM_PACKAGES[group]);
  const missing = wanted.filter((name) => {
    const query = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' });
    return query.stdout !== 'installed';
  });
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    print(
      `missing system packages, as root run: apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
    return;
  }
  print(`installing system packages: ${missing.join(' ')}`);
  await withoutServices(() => installWithApt(missing));
}
