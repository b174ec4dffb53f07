// Plants a marker in every setting that may hold a secret, runs the agent with cameras and brokers that work and that fail,
// and searches all outputs. A new setting is planted without a change here: the schemas list it.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { x as extract } from 'tar';
import { expect, it } from 'vitest';
import { CameraSettings, type CameraInput } from '../../src/config/schema.ts';
import { settingsDefinition } from '../../src/config/definition.ts';
import { secretKindOf } from '../../src/config/secret-keys.ts';
import { listSettings } from '../../src/config/setting.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { descendants, eventually } from '../fixtures/capture.ts';
import { httpServer, tcpServer } from '../fixtures/camera-server.ts';
import { runCli } from '../fixtures/cli.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { freePort, Mosquitto } from '../fixtures/mosquitto.ts';

const MARKER = 'mk7f3a9q';
/** Keys with free text that everybody may see: identity, topics, and paths of files. */
const PUBLIC = new Set([
  ...['site', 'device', 'stateDir', 'mqtt.clientId', 'mqtt.base', 'mqtt.homeAssistant.prefix', 'http.host'],
  ...['mqtt.password_file', 'mqtt.ca', 'mqtt.cert', 'mqtt.key', 'http.token_file', 'http.allowedHosts'],
  ...['model.trustRoot', 'update.trustRoot', 'remote.cameraHosts'],
  ...['id', 'path', 'password_file', 'headers_file', 'tls.ca', 'tls.fingerprint256'].map(
    (key) => `cameras[].${key}`,
  ),
  ...['schedule.cron', 'schedule.timezone', 'seaState.schedule.cron', 'seaState.schedule.timezone'].map(
    (key) => `cameras[].${key}`,
  ),
  ...['pose', 'tide.station', 'tide.constituents[].name'].map((key) => `cameras[].geometry.${key}`),
]);

interface Schema {
  readonly type?: string;
  readonly enum?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema | readonly Schema[];
}

/** Keys of texts without a list of allowed values. */
function textKeys(schema: Schema, key: string): string[] {
  if (schema.type === 'string') return schema.enum === undefined ? [key] : [];
  const { properties = {}, patternProperties = {}, items, anyOf = [] } = schema;
  return [
    ...Object.entries(properties).flatMap(([name, inner]) => textKeys(inner, `${key}.${name}`)),
    ...Object.values(patternProperties).flatMap((inner) => textKeys(inner, `${key}.x`)),
    ...anyOf.filter(({ type }) => type !== 'string').flatMap((inner) => textKeys(inner, key)),
    ...(items === undefined || Array.isArray(items) ? [] : textKeys(items as Schema, `${key}[1]`)),
  ];
}

it('every setting with free text is a secret, or is listed as public', () => {
  const accepts = (check: (value: unknown) => void, value: unknown): boolean => {
    try {
      check(value);
      return true;
    } catch {
      return false;
    }
  };
  const samples = ['some text', 'https://host.example/path', 'mqtt://host.example/path', 'host.example'];
  const settings = listSettings(settingsDefinition())
    .filter(({ key }) => key !== 'cameras')
    .filter(({ setting }) =>
      samples.some((text) => accepts(setting.check, text) || accepts(setting.check, [text])),
    )
    .map(({ key }) => key);
  const cameras = textKeys(CameraSettings as Schema, 'cameras[0]');
  expect(settings.length + cameras.length).toBeGreaterThan(20);
  const open = [...settings, ...cameras].filter(
    (key) => secretKindOf(key) === null && !PUBLIC.has(key.replace(/\[\d+\]/g, '[]')),
  );
  expect(open).toEqual([]);
});

const SCHEDULE = { schedule: { everyS: 3 }, burst: { frames: 1, intervalS: 0 }, timeoutS: 2 };

it('the marker is in no output of the agent and of its command line', async () => {
  const image = await jpegOf(1, { width: 320, height: 180 });
  await using stack = new AsyncDisposableStack();
  const web = await httpServer((request, response) => {
    const path = request.url ?? '';
    if (path.includes('works')) response.end(image);
    else if (path.includes('elsewhere')) response.writeHead(302, { location: `/${MARKER}-moved` }).end();
    else if (path.includes('login'))
      response.writeHead(401, { 'www-authenticate': `Basic realm="${MARKER}"` }).end();
    else if (path.includes('echo'))
      response.end(`no image at ${path} for ${JSON.stringify(request.headers)}`);
    else response.writeHead(404).end();
  });
  stack.defer(() => web.stop());
  const rtsp = await tcpServer((socket) => {
    socket.on('data', (data) =>
      socket.end(
        `RTSP/1.0 404 Not Found\r\nCSeq: ${/CSeq: (\d+)/.exec(data.toString())?.[1] ?? '1'}\r\n\r\n`,
      ),
    );
  });
  stack.defer(() => rtsp.stop());
  const broker = await Mosquitto.start({ users: { [`${MARKER}-user`]: `${MARKER}-pw`, watcher: 'watcher' } });
  stack.defer(() => broker.stop());
  let count = 0;
  const mark = (): string => `${MARKER}${String((count += 1)).padStart(3, '0')}`;
  const at = (port: number, scheme: string, what = ''): string =>
    `${scheme}://127.0.0.1:${String(port)}/user=admin_password=${mark()}_${what}/?token=${mark()}#${mark()}`;
  const withLogin = (url: string): string => url.replace('://', `://${mark()}:${mark()}@`);
  const cameras: CameraInput[] = [
    { id: 'works', kind: 'http', url: at(web.port, 'http', 'works') },
    { id: 'missing', kind: 'http', url: withLogin(at(web.port, 'http')) },
    { id: 'refused', kind: 'http', url: at(web.port, 'http', 'login'), username: mark(), password: mark() },
    { id: 'moved', kind: 'http', url: at(web.port, 'http', 'elsewhere') },
    {
      id: 'text',
      kind: 'http',
      url: at(web.port, 'http', 'echo'),
      headers: { Cookie: `sid=${mark()}`, 'X-Key': mark() },
    },
    { id: 'down', kind: 'http', url: withLogin(at(1, 'http')) },
    { id: 'stream', kind: 'rtsp', url: withLogin(at(rtsp.port, 'rtsp')) },
    {
      id: 'unknown',
      kind: 'rtsp',
      url: `rtsp://no-such-host.invalid/${mark()}`,
      username: mark(),
      password: mark(),
    },
    {
      id: 'playlist',
      kind: 'hls',
      url: at(web.port, 'http', 'echo'),
      headers: { Authorization: `Bearer ${mark()}` },
    },
    { id: 'shell', kind: 'command', command: ['sh', '-c', `echo "login ${mark()} refused" >&2; exit 3`] },
    {
      id: 'program',
      kind: 'command',
      command: ['cat', `--password=${mark()}`, withLogin(at(web.port, 'http'))],
    },
  ];
  const token = mark();
  const config = {
    logLevel: 'trace',
    mqtt: {
      url: [
        withLogin(`mqtt://127.0.0.1:1/${mark()}?token=${mark()}`),
        withLogin(`ws://127.0.0.1:2/${mark()}?token=${mark()}`),
        `mqtt://127.0.0.1:${String(broker.port)}/${mark()}?${mark()}`,
      ],
      username: `${MARKER}-user`,
      password: `${MARKER}-pw`,
    },
    model: { repository: withLogin(at(web.port, 'http')), allowUnsigned: true },
    update: { repository: withLogin(at(web.port, 'http')) },
    cameras: cameras.map((camera) => ({ ...SCHEDULE, ...camera })),
  };
  const outputs = new Map<string, string>();

  const watcher = await broker.client({ username: 'watcher', password: 'watcher' });
  const messages: { topic: string; text: string }[] = [];
  watcher.on('message', (topic, payload) => messages.push({ topic, text: payload.toString('latin1') }));
  await watcher.subscribeAsync('#', { qos: 1 });
  const http = { port: await freePort(), token };
  const url = `http://127.0.0.1:${String(http.port)}`;
  const agent = await RunningAgent.start({ ...config, http }, { steered: {} });
  stack.use(agent);
  const commandLines = new Set<string>();
  const answers = (name: string): number =>
    messages.filter(({ topic }) => topic.endsWith(`/cmdres/${name}`)).length;
  const command = async (name: string, args: object): Promise<void> => {
    const before = answers(name);
    await watcher.publishAsync(
      `swellsight/v1/test/dev/cmd/${name}`,
      JSON.stringify({ id: `c-${String(count)}-${name}-${String(before)}`, args }),
      { qos: 1 },
    );
    await eventually(
      `two answers to ${name}`,
      () =>
        answers(name) >= before + 2 ||
        messages.some(({ topic, text }) => topic.endsWith(`/cmdres/${name}`) && text.includes('rejected')),
      60_000,
    );
  };
  const observed = (id: string): boolean =>
    messages.some(({ topic }) => topic.endsWith(`/camera/${id}/observation`));
  const stuck = (): string =>
    `${cameras
      .filter(({ id }) => !observed(id))
      .map(({ id }) => id)
      .join()}\n${agent.raw.slice(-20).join('\n')}`;
  await eventually(
    'an observation of each camera',
    () => {
      for (const pid of descendants('')) commandLines.add(commandLineOf(pid));
      return cameras.every(({ id }) => observed(id));
    },
    100_000,
  ).catch((thrown: unknown) => {
    throw new Error(stuck(), { cause: thrown });
  });

  // Commands whose answers show settings or failures.
  for (const name of ['config.get', 'diagnostics', 'info', 'model.list', 'agent.list'])
    await command(name, {});
  for (const id of ['missing', 'shell', 'unknown']) await command('capture', { camera: id });
  await command('model.install', { name: 'none', version: '1.0.0', source: { kind: 'repository' } });
  await command('config.set', {
    patch: { cameras: [{ id: 'missing', url: `gopher://${mark()}` }], mqtt: { password: '' } },
  });
  outputs.set(
    'messages',
    messages
      .filter(({ topic }) => !topic.includes('/cmd/'))
      .map(({ topic, text }) => `${topic} ${text}`)
      .join('\n'),
  );

  const get = async (path: string): Promise<string> => {
    const answer = await fetch(`${url}${path}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(20_000),
    });
    return `${String(answer.status)} ${await answer.text()}`;
  };
  const { paths } = JSON.parse((await get('/openapi.json')).slice(4)) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const routes = Object.entries(paths).filter(
    ([path, methods]) => 'get' in methods && !path.endsWith('/events'),
  );
  expect(routes.length).toBeGreaterThan(15);
  for (const [path] of routes)
    for (const id of path.includes('{') ? ['works', 'missing', 'none'] : ['']) {
      const filled = path.replace(/\{\w+\}/g, id);
      outputs.set(`GET ${filled}`, await get(filled));
    }
  for (const id of ['missing', 'text', 'program']) {
    const answer = await fetch(`${url}/api/v1/cameras/${id}/capture`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    });
    outputs.set(`capture ${id}`, await answer.text());
  }

  const file = join(agent.stateDir, 'test-config.json');
  const cli = async (...args: string[]): Promise<void> => {
    const { stdout, stderr } = await runCli([...args, '--config', file]);
    outputs.set(args.join(' '), stdout + stderr);
  };
  await cli('check-config');
  await cli('check-config', '--json');
  const archive = join(agent.stateDir, 'archive.tar.gz');
  await cli('diagnostics', '--out', archive);
  const unpacked = join(agent.stateDir, 'unpacked');
  mkdirSync(unpacked);
  await extract({ file: archive, cwd: unpacked });
  for (const name of readdirSync(unpacked))
    outputs.set(`archive ${name}`, readFileSync(join(unpacked, name), 'latin1'));
  await cli('doctor');
  const broken = join(agent.stateDir, 'broken.json');
  const faulty = config.cameras.map((camera) => ({
    ...camera,
    kind: 'hls',
    username: 7,
    url: `x:${camera.url ?? ''}`,
  }));
  writeFileSync(
    broken,
    JSON.stringify({
      ...config,
      http: [token],
      mqtt: { ...config.mqtt, url: ['amqp://h/' + mark(), 5] },
      cameras: faulty,
    }),
  );
  const faults = await runCli(['check-config', '--config', broken]);
  expect(faults.code).toBe(78);
  outputs.set('faults', faults.stdout + faults.stderr);

  await agent.stop();
  outputs.set('log', agent.raw.join('\n'));
  for (const name of readdirSync(join(agent.stateDir, 'var'), {
    recursive: true,
    withFileTypes: true,
  }).filter((entry) => entry.isFile()))
    outputs.set(`state ${name.name}`, readFileSync(join(name.parentPath, name.name), 'latin1'));

  // The search means nothing if an output is empty.
  expect(outputs.get('messages')).toMatch(/cmdres\/config\.get .*http:\/\/127\.0\.0\.1/);
  expect(outputs.get('log')).toMatch(
    /"mqtt":\["mqtt:\/\/\*\*\*@127\.0\.0\.1:1\/\*\*\*",.*"msg":"agent started"/,
  );
  expect(outputs.get('archive doctor.json')).toContain('camera missing');

  // The commands of cameras are arguments of their processes: the operator wrote them, and every user of the machine sees them.
  const ofAgent = [...commandLines].filter((line) => !/^(sh -c|cat --password)/.test(line));
  outputs.set('command lines', ofAgent.join('\n'));
  const found = [...outputs].flatMap(([name, text]) => {
    const where = text.indexOf(MARKER);
    return where < 0 ? [] : [`${name}: …${text.slice(Math.max(0, where - 160), where + 60)}…`];
  });
  expect(found).toEqual([]);
}, 400_000);

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
      .replaceAll('\0', ' ')
      .trim();
  } catch {
    return '';
  }
}
