import { CameraSettings } from '../../src/config/schema.ts';
import { settingsDefinition } from '../../src/config/definition.ts';
import { isSetting, type Group, type Setting } from '../../src/config/setting.ts';

const HOST_NAME = 'the host name';

interface JsonSchema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
}

/** `docs/configuration.md` and `config/example.json5`, generated from the definition of the settings. */
export function configFiles(): Record<string, string> {
  const definition = settingsDefinition();
  return { 'docs/configuration.md': page(definition), 'config/example.json5': example(definition) };
}

function page(definition: Group): string {
  return [
    '# Configuration',
    '',
    'Generated from `src/config/definition.ts` and `src/config/schema.ts` by `npm run generate`.',
    '',
    'The configuration is one JSON5 or YAML file, given by `--config FILE` or `SWELLSIGHT_CONFIG`. Without a file, the',
    'defaults run a simulated camera with an embedded broker. Each key also has an environment variable (lists as JSON; an',
    'empty variable counts as not set). Later sources override earlier ones: defaults, file, environment, remote',
    'configuration. Relative paths start at the working directory.',
    '',
    '`swellsight check-config` lists all faults and exits with 78: unknown keys, wrong types, contradictory values. It does',
    'not convert types: `"8080"` in a file is text, not a port.',
    '',
    'Placeholders such as `${NAME}` and YAML tags such as `!secret` are faults: the agent does not replace them. The command of',
    'a camera may contain them when its program is a shell. Variables that Kubernetes and Docker create for a service whose',
    'name begins with `swellsight` are ignored with a warning.',
    '',
    'A secret can be in a separate file: add `_file` to the key and give the path. The file has the secret on one line, in UTF-8',
    'or UTF-16; line breaks at the end and a byte order mark are ignored. Only the password of a camera may be empty.',
    'Secret files and certificates are regular files, or links to them: a pipe or a device is a fault, because it could block the agent.',
    'A relative path is first looked up in `$CREDENTIALS_DIRECTORY` of systemd (`LoadCredential=`). `config/example.json5`',
    'has every key with its default.',
    '',
    '## Keys',
    '',
    ...rows(definition, ''),
    '## Cameras',
    '',
    'The list `cameras` replaces the whole default list. `rtsp`, `hls` and `http` need `url`; `v4l2`, `video` and',
    '`directory` need `path`; `command` needs `command`; `simulated` needs none of them.',
    '',
    ...cameraRows(),
    'Defaults of a camera: every 60 s (simulated: 4 s); bursts of 3 frames with an interval of 2 s (simulated: 0.5 s), but at',
    'most a quarter of the period; a timeout of 15 s for each frame. A cron pattern has five fields; day of month and weekday',
    'must both match. With daylight saving time, a pattern with given hours runs once for each of its local times (a time that',
    'does not exist in spring runs at the end of the gap), and a pattern for every hour runs without a gap.',
    'A step that is longer than its range, such as `*/90` minutes, is a fault that names the interval to use. A `TZ` that the',
    'agent cannot use is a fault too; `check-config` and `doctor` show the zone and the next slots.',
    '',
    '## Changes while the agent runs',
    '',
    'SIGHUP to an agent without a terminal (`systemctl reload swellsight`) reads the file and the secret files again. A file with a',
    'fault is refused with a log line and the event `config_refused`, and the former configuration stays in force. Otherwise the',
    'changed keys take effect as [those of a remote command](remote-configuration.md#how-a-change-takes-effect): most of them while',
    'the agent runs; keys that need a restart of all parts are named in the log. If the parts do not start with the changed file,',
    'they start again with the former configuration, and removed remote settings are stored again. A file that has lost all of its',
    'settings is refused too: an editor may be writing it. The beginning of a YAML file may be valid, so programs must write a new',
    'file and rename it. During a stop, SIGHUP does nothing. Environment variables are those of the start of the process.',
    '',
    'The password files of the broker, and those with the login of a camera that refuses it, are read again by themselves.',
    '',
    '`swellsight config show` prints each setting with its source: default, file, environment or remote command. `check-config`,',
    '`doctor` and the first log lines of the agent list the keys that each source sets. `swellsight config drop` removes',
    'the settings of remote commands ([remote-configuration.md](remote-configuration.md#on-the-device)).',
    '',
    '## Example',
    '',
    '```json5',
    '{',
    "  site: 'ericeira',",
    '  cameras: [',
    '    {',
    "      id: 'north',",
    "      kind: 'rtsp',",
    "      url: 'rtsp://192.168.1.20/stream1',",
    "      username: 'viewer',",
    "      password_file: 'north-camera',",
    '      location: { lat: 38.99, lon: -9.42 },',
    "      schedule: { cron: '*/10 * * * *', timezone: 'Europe/Lisbon', sun: { from: 'dawn', to: 'dusk' }, jitterS: 30 },",
    '      privacyMasks: [[[0, 0.8], [0.3, 0.8], [0.3, 1], [0, 1]]],',
    '    },',
    '  ],',
    "  mqtt: { url: 'mqtts://broker.example:8883', username: 'ericeira', password_file: 'mqtt', ca: '/etc/swellsight/ca.pem' },",
    '}',
    '```',
    '',
  ].join('\n');
}

function rows(group: Group, prefix: string): string[] {
  const leaves = Object.entries(group).filter((entry): entry is [string, Setting] => isSetting(entry[1]));
  const groups = Object.entries(group).filter((entry): entry is [string, Group] => !isSetting(entry[1]));
  return [
    ...(leaves.length === 0
      ? []
      : [
          ...(prefix === '' ? [] : [`### \`${prefix.slice(0, -1)}\``, '']),
          '| key | default | allowed values | meaning | variable |',
          '| --- | --- | --- | --- | --- |',
          ...leaves.map(([name, setting]) => {
            const { doc, wanted, env } = setting;
            return `| \`${prefix}${name}\` | ${defaultText(prefix + name, setting)} | ${cell(wanted)} | ${cell(doc)} | \`${env}\` |`;
          }),
          '',
        ]),
    ...groups.flatMap(([name, inner]) => rows(inner, `${prefix}${name}.`)),
  ];
}

function defaultText(key: string, setting: Setting): string {
  if (key === 'device') return HOST_NAME;
  if (key === 'cameras') return 'one simulated camera, `sim`';
  return setting.default === null ? 'none' : `\`${JSON.stringify(setting.default)}\``;
}

function cameraRows(): string[] {
  const lines = ['| key | allowed values | meaning |', '| --- | --- | --- |'];
  const walk = (schema: JsonSchema, prefix: string): void => {
    for (const [name, inner] of Object.entries(schema.properties ?? {})) {
      if (inner.properties) {
        if (inner.description !== undefined)
          lines.push(`| \`${prefix}${name}\` | {…} | ${cell(inner.description)} |`);
        walk(inner, `${prefix}${name}.`);
      } else
        lines.push(
          `| \`${prefix}${name}\` | ${cell(allowedValues(inner))} | ${cell(inner.description ?? '')} |`,
        );
    }
  };
  walk(CameraSettings, '');
  return [...lines, ''];
}

function allowedValues(schema: JsonSchema): string {
  if (schema.enum) return `one of ${schema.enum.map(String).join(', ')}`;
  const kind =
    {
      integer: 'a whole number',
      number: 'a number',
      boolean: 'true or false',
      array: 'a list',
      object: '{…}',
    }[schema.type ?? ''] ?? 'text';
  const min = schema.minimum ?? schema.exclusiveMinimum;
  const max = schema.maximum;
  const range = [
    ...(min === undefined
      ? []
      : [`${schema.exclusiveMinimum === undefined ? 'from' : 'above'} ${String(min)}`]),
    ...(max === undefined ? [] : [`to ${String(max)}`]),
  ];
  return [kind, ...range].join(' ');
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

function example(definition: Group): string {
  return [
    '// Every key with its default. Keys without a default are in comments.',
    '// Generated by `npm run generate`. Details: docs/configuration.md.',
    '{',
    ...exampleLines(definition, '', '  '),
    '}',
    '',
  ].join('\n');
}

function exampleLines(group: Group, prefix: string, indent: string): string[] {
  return Object.entries(group).flatMap(([name, node]) => {
    const key = `${prefix}${name}`;
    if (!isSetting(node))
      return [`${indent}${name}: {`, ...exampleLines(node, `${key}.`, `${indent}  `), `${indent}},`];
    if (key === 'cameras')
      return [...comment(node, indent), ...EXAMPLE_CAMERAS.map((line) => `${indent}${line}`)];
    const value = key === 'device' ? undefined : node.default;
    const line =
      value === undefined || value === null
        ? `// ${name}: ${sample(key)},`
        : `${name}: ${JSON.stringify(value)},`;
    return [...comment(node, indent), `${indent}${line}`];
  });
}

const comment = (setting: Setting, indent: string): string[] => [
  `${indent}// ${setting.doc} Allowed: ${setting.wanted}.`,
];

const SAMPLES: Readonly<Record<string, string>> = {
  device: '"station-7"',
  'mqtt.clientId': '"swellsight-local-station-7"',
  'mqtt.username': '"ericeira"',
  'mqtt.password': '"better: password_file"',
  'mqtt.password_file': '"mqtt-password"',
  'mqtt.ca': '"/etc/swellsight/ca.pem"',
  'mqtt.cert': '"/etc/swellsight/device.pem"',
  'mqtt.key': '"/etc/swellsight/device.key"',
  'model.active': '"swellsight-factory/1.0.0"',
  'model.trustRoot': '"/etc/swellsight/root.json"',
  'model.repository': '"https://models.example.org"',
  'model.maxKbPerS': '200',
  'update.trustRoot': '"/etc/swellsight/agent-root.json"',
  'update.repository': '"https://agents.example.org"',
  'http.token': '"better: token_file"',
  'http.token_file': '"http-token"',
};

function sample(key: string): string {
  const text = SAMPLES[key];
  if (text === undefined) throw new Error(`no sample for ${key}`);
  return text;
}

const EXAMPLE_CAMERAS = [
  'cameras: [',
  '  {',
  '    id: "sim",',
  '    kind: "simulated",',
  '    schedule: { everyS: 4 },',
  '    burst: { frames: 3, intervalS: 0.5 },',
  '    simulation: { selfLabel: true },',
  '    seaState: { schedule: { everyS: 600 }, durationS: 256 },',
  '  },',
  '  // {',
  '  //   id: "north",',
  '  //   kind: "rtsp",',
  '  //   url: "rtsp://192.168.1.20/stream1",',
  '  //   username: "viewer",',
  '  //   password_file: "north-camera",',
  '  //   location: { lat: 38.99, lon: -9.42 },',
  '  //   schedule: { everyS: 600, sun: { from: "dawn", to: "dusk" }, jitterS: 30 },',
  '  // },',
  '],',
];
