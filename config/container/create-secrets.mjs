// Creates the passwords and the token of ../compose.yaml once, each in the volume of the service that reads it.
// `create-secrets.mjs`: creates what is missing. `create-secrets.mjs show`: prints what people need.
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const root = process.env.SECRETS_DIR ?? '/secrets';
const device = process.env.SWELLSIGHT_DEVICE ?? '';

/** The user of each image, which must be able to read its files. */
const OWNERS = { agent: 10001, broker: 1883, prometheus: 65534, grafana: 472, people: 0 };
const isRoot = process.getuid() === 0;

function write(service, name, text) {
  const file = join(root, service, name);
  mkdirSync(join(root, service), { recursive: true });
  writeFileSync(`${file}.new`, `${text}\n`, { mode: 0o400 });
  chmodSync(`${file}.new`, 0o400);
  if (isRoot) chownSync(`${file}.new`, OWNERS[service], OWNERS[service]);
  renameSync(`${file}.new`, file);
}

/** A secret that stays the same. The copy for people is the original. */
function secret(name) {
  const file = join(root, 'people', name);
  if (!existsSync(file)) write('people', name, randomBytes(24).toString('base64url'));
  return readFileSync(file, 'utf8').trim();
}

/** A line of mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it. */
function passwordLine(user, password) {
  const iterations = 101;
  const salt = randomBytes(12);
  const hash = pbkdf2Sync(password, salt, iterations, 64, 'sha512');
  return `${user}:$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

if (process.argv[2] === 'show') {
  for (const name of ['http-token', 'mqtt-dashboard', 'mqtt-operator', 'grafana-admin'])
    process.stdout.write(`${name.padEnd(15)} ${secret(name)}\n`);
} else if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(device)) {
  process.stderr.write(`SWELLSIGHT_DEVICE is ${JSON.stringify(device)}, not a name of letters and digits\n`);
  process.exit(78);
} else {
  const users = { [device]: 'mqtt-device', dashboard: 'mqtt-dashboard', operator: 'mqtt-operator' };
  const lines = Object.entries(users).map(([user, name]) => passwordLine(user, secret(name)));
  write('broker', 'passwords', lines.join('\n'));
  write('agent', 'mqtt-password', secret('mqtt-device'));
  write('agent', 'http-token', secret('http-token'));
  write('prometheus', 'swellsight-token', secret('http-token'));
  write('grafana', 'grafana-password', secret('grafana-admin'));
}
