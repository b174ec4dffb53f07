// What `npm start` and `npm test` do first. Plain JavaScript that runs on the machine's own Node, however old.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The Node that is fetched when the machine's own is too old; the agent runs on 22.12 and later, tools need 22.18. */
const NODE_VERSION = '24.21.0';
const NODE_MINIMUM = [22, 18];

const SYSTEM_PACKAGES = {
  camera: ['ffmpeg'],
  test: [
    'mosquitto',
    'mosquitto-clients',
    'nats-server',
    'prometheus',
    'python3-jinja2',
    'strace',
    'nftables',
    'iproute2',
    'e2fsprogs',
    'xfsprogs',
    'openssl',
    'python3-gi',
    'gir1.2-gst-rtsp-server-1.0',
    'gstreamer1.0-plugins-base',
    'gstreamer1.0-plugins-good',
    'gstreamer1.0-plugins-ugly',
    'python3-torch',
    'python3-onnx',
    'libonnx-testdata',
    'chromium',
  ],
};

const say = (line) => process.stderr.write(`setup: ${line}\n`);

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: ['ignore', 2, 2], cwd: root, ...options });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${result.status ?? result.signal}`);
}

/** npm under a given Node: the npm that called us if there is one, else the one beside that Node or on PATH. */
function npm(node, args) {
  const cli = process.env.npm_execpath;
  const env = {
    ...process.env,
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
    ONNXRUNTIME_NODE_INSTALL_CUDA: 'skip',
  };
  // The caller's npm writes its own settings into the environment; they would outrank the project's .npmrc.
  for (const key of Object.keys(env))
    if (/^npm_(config_(?!registry|userconfig|cache|cafile)|package_|lifecycle_)/i.test(key)) delete env[key];
  if (cli && /\.c?js$/.test(cli)) run(node, [cli, ...args], { env });
  else run('npm', args, { env });
}

/** @returns {string} path of a Node that is new enough */
export function ensureNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1]))
    return process.execPath;
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const folder = join(root, '.tools', 'node');
  const binary = join(
    folder,
    'node_modules',
    name,
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
  const manifest = join(folder, 'node_modules', name, 'package.json');
  if (existsSync(binary) && JSON.parse(readFileSync(manifest, 'utf8')).version === NODE_VERSION)
    return binary;
  say(`Node ${process.versions.node} is too old, fetching ${NODE_VERSION} into .tools (about 185 MB)`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  npm(process.execPath, [
    'install',
    '--prefix',
    folder,
    '--ignore-scripts',
    '--no-save',
    '--no-package-lock',
    `${name}@${NODE_VERSION}`,
  ]);
  return binary;
}

export function ensurePackages(node) {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const key = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(version)
    .digest('hex');
  const stamp = join(root, 'node_modules', '.setup-stamp');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  say('installing npm packages');
  npm(node, ['ci', '--no-audit', '--no-fund']);
  writeFileSync(stamp, key);
}

function newest(folder) {
  let time = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile())
      time = Math.max(time, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs);
  }
  return time;
}

export function ensureBuild(node) {
  const stamp = join(root, 'dist', '.built');
  const sources = Math.max(newest(join(root, 'src')), statSync(join(root, 'tsconfig.build.json')).mtimeMs);
  if (existsSync(stamp) && statSync(stamp).mtimeMs > sources) return;
  say('building');
  run(node, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']);
  run(node, [join(root, 'scripts', 'copy-assets.mjs')]);
  writeFileSync(stamp, '');
}

/** Brokers and the like are wanted as programs: Debian would start each as a service, on ports that the agent uses. */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy);
  }
}

/** Debian packages; only root may install them, others are told what is missing. */
export function ensureSystemPackages(groups) {
  if (process.platform !== 'linux' || spawnSync('dpkg-query', ['--version']).status !== 0) {
    say(
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
    say(`missing system packages, as root run: apt-get install --no-install-recommends ${missing.join(' ')}`);
    return;
  }
  say(`installing system packages: ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  withoutServices(() => {
    run('apt-get', ['-q', 'update'], { env });
    run('apt-get', ['-q', '-y', '--no-install-recommends', 'install', ...missing], { env });
  });
}
