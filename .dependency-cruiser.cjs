// Which directory of src/ may import which, and which package has its home where. See docs/architecture.md.
// scripts/check/structure.ts fails when a directory of src/ is missing here.

/** The files of a stage that other stages may import: types, and functions on those types. */
const TYPE_FILES = [
  'calibration/types',
  'camera/camera',
  'health/types',
  'model/manifest',
  'model/types',
  'mqtt/types',
  'schedule/types',
  'sea-state/types',
  'store/types',
  'vision/protocol',
];

/** Every directory above these may import them. */
const FOUNDATION = ['base', 'contract', 'config/schema'];

/**
 * What the files directly in a directory of src/ may import in addition to their own stage, FOUNDATION and TYPE_FILES.
 * Lower directories come first: a directory imports only directories above its own line.
 */
const DIRECTORIES = {
  schedule: [],
  camera: [],
  calibration: [],
  'sea-state': ['calibration'],
  geometry: [],
  vision: [],
  model: [],
  store: [],
  mqtt: [],
  health: [],
  http: [],
  fleet: [],
  updater: ['model'],
  update: ['model'],
  serving: ['vision', 'model'],
  observation: ['config', 'schedule', 'camera', 'calibration', 'geometry', 'sea-state', 'store', 'serving'],
  analysis: ['calibration', 'observation'],
};

/**
 * Subdirectories: which other directories of the same stage they may import. They may also import the files directly in
 * the stage, and what the stage may import.
 */
const SUBDIRECTORIES = {
  'contract/openapi': [],
  'camera/ffmpeg': [],
  'camera/hls': ['camera/ffmpeg', 'camera/http'],
  'camera/http': [],
  'camera/rtsp': ['camera/ffmpeg', 'camera/http'],
  'camera/simulated': [],
  'calibration/view': [],
  'sea-state/process': [],
  'vision/hardware': [],
  'vision/child': ['vision/hardware'],
  'vision/providers': ['vision/child', 'vision/hardware'],
  'model/archive': ['model/bundle'],
  'model/bundle': ['model/archive'],
  'model/trust': ['model/bundle'],
  'model/repository': ['model/archive', 'model/bundle', 'model/trust'],
  'model/slots': ['model/bundle'],
  'model/fetch': ['model/archive', 'model/bundle', 'model/trust'],
  'model/install': ['model/bundle', 'model/fetch', 'model/slots'],
  'store/file': ['store/outbox'],
  'store/migrations': [],
  'store/outbox': [],
  'mqtt/link': [],
  'mqtt/forward': [],
  'mqtt/commands': [],
  'mqtt/blocks': [],
  'mqtt/discovery': [],
  'observation/clips': [],
  'health/board': [],
  'health/metrics': [],
  'http/routes': [],
  'fleet/page-server': [],
  'cli/agent': [],
  'cli/calibrate': [],
  'cli/config': [],
  'cli/diagnostics': [],
  'cli/doctor': [],
  'cli/fleet': [],
  'cli/geometry': [],
  'cli/model': [],
  'cli/repo': [],
  'cli/sea-state': [],
};

/** `camera` matches every file under it, `camera/camera` also the one file. */
const paths = (names) => `^src/(${names.join('|')})(/|\\.ts$)`;
const stageOf = (directory) => directory.split('/')[0];
/** Files directly in the directory, not those of its subdirectories. */
const filesIn = (directory) => `^src/${directory}/[^/]+$`;

const ruleName = (directory) => `imports-of-${directory.replaceAll('/', '-')}`;
const rule = (directory, allowed) => ({
  name: ruleName(directory),
  comment: `src/${directory} imports only what .dependency-cruiser.cjs lists for it`,
  severity: 'error',
  from: { path: filesIn(directory) },
  to: { path: '^src/', pathNot: allowed },
});

const stageRules = Object.entries(DIRECTORIES).map(([stage, more]) =>
  rule(stage, [`^src/${stage}/`, paths([...FOUNDATION, ...TYPE_FILES, ...more])]),
);
const subdirectoryRules = Object.entries(SUBDIRECTORIES)
  .filter(([directory]) => !/^(contract|cli)\//.test(directory))
  .map(([directory, siblings]) => {
    const stage = stageOf(directory);
    return rule(directory, [
      filesIn(stage),
      paths([...FOUNDATION, ...TYPE_FILES, ...DIRECTORIES[stage], directory, ...siblings]),
    ]);
  });
const foundationRules = [
  rule('base', [paths(['base'])]),
  rule('contract', [paths(['base', 'contract'])]),
  rule('contract/openapi', [paths(['base', 'contract'])]),
  rule('config', [paths(['base', 'contract', 'config'])]),
];
const topRules = [
  {
    name: 'imports-of-control',
    comment: 'src/control imports everything below it',
    severity: 'error',
    from: { path: '^src/control/' },
    to: { path: paths(['cli', 'agent', 'main']) },
  },
  {
    name: 'imports-of-control-doctor',
    comment: 'src/control/doctor imports what src/control imports',
    severity: 'error',
    from: { path: '^src/control/doctor/' },
    to: { path: paths(['cli', 'agent', 'main']) },
  },
  ...['cli', ...Object.keys(SUBDIRECTORIES).filter((directory) => stageOf(directory) === 'cli')].map(
    (directory) => ({
      name: ruleName(directory),
      comment: 'src/cli imports everything; only src/cli/run.ts starts the agent',
      severity: 'error',
      from: { path: filesIn(directory), pathNot: '^src/cli/run\\.ts$' },
      to: { path: paths(['agent', 'main']) },
    }),
  ),
  {
    name: 'imports-of-agent',
    comment: 'src/agent.ts does not know the command line',
    severity: 'error',
    from: { path: '^src/agent\\.ts$' },
    to: { path: paths(['cli', 'main']) },
  },
  // The pages run in browsers: of the agent they know the types of what it sends.
  ...['web', 'web/shared'].map((directory) => rule(directory, [paths(['web/shared', 'contract'])])),
  rule('web/device', [paths(['web/device', 'web/shared', 'contract'])]),
  // A view does not import another one.
  ...['now', 'history', 'setup', 'agent'].map((view) =>
    rule(`web/device/${view}`, [
      filesIn('web/device'),
      paths([`web/device/${view}`, 'web/shared', 'contract']),
    ]),
  ),
  rule('web/device/now/label', [filesIn('web/device'), paths(['web/device/now', 'web/shared', 'contract'])]),
  ...['web/fleet', 'web/fleet/map'].map((directory) =>
    rule(directory, [paths(['web/fleet', 'web/shared', 'contract'])]),
  ),
  {
    name: 'pages-import-types-of-contract',
    comment:
      'src/web imports types of src/contract, and of its code only the file that imports no other code',
    severity: 'error',
    from: { path: '^src/web/' },
    to: {
      path: '^src/contract/',
      pathNot: '^src/contract/conditions\\.ts$',
      dependencyTypesNot: ['type-only'],
    },
  },
  {
    name: 'agent-imports-no-page',
    comment: 'the agent serves the built files of src/web, and imports none',
    severity: 'error',
    from: { path: '^src/', pathNot: '^src/web/' },
    to: { path: '^src/web/' },
  },
  {
    name: 'no-other-files-in-src',
    comment: 'directly in src/ are main.ts and agent.ts alone',
    severity: 'error',
    from: {},
    to: { path: '^src/[^/]+$', pathNot: '^src/(main|agent)\\.ts$' },
  },
];

/** A package that only files on these paths import. */
const home = (name, packages, allowed) => ({
  name: `${name}-has-one-home`,
  comment: `${packages} is imported only in ${allowed}`,
  severity: 'error',
  from: { path: '^src/', pathNot: allowed },
  to: { path: `node_modules/${packages}(/|$)` },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    ...foundationRules,
    ...stageRules,
    ...subdirectoryRules,
    ...topRules,
    home('onnxruntime', '(onnxruntime-node|sharp)', '^src/(vision/|sea-state/process/figures\\.ts)'),
    home('ws', 'ws', '^src/fleet/page-server/'),
    home('mqtt', '(mqtt|mqtt-packet|aedes)', '^src/(mqtt|web/fleet)/'),
    home('better-sqlite3', 'better-sqlite3', '^src/store/'),
    home('fastify', '(fastify|@fastify)', '^src/http/'),
    home('node-cron', 'node-cron', '^src/base/cron-pattern\\.ts$'),
    home('suncalc', 'suncalc', '^src/schedule/'),
    home('convict', '(convict|json5|yaml)', '^src/config/'),
    home('systeminformation', 'systeminformation', '^src/(health/|vision/hardware/)'),
    home('koffi', 'koffi', '^src/(health/|cli/ambient-capabilities\\.ts)'),
    home('ajv', 'ajv', '^src/base/schema-checker\\.ts$'),
    home('prom-client', 'prom-client', '^src/health/'),
    home('tuf', '(tuf-js|@tufjs|semver)', '^src/model/'),
    home('tar', 'tar', '^src/(model|updater|cli/diagnostics)/'),
    home('commander', '(commander|cli-progress|csv-parse)', '^src/cli/'),
    home('ml-matrix', 'ml-matrix', '^src/geometry/'),
    home('tides', '@neaps', '^src/geometry/'),
    home('web-packages', '(preact|@preact|uplot)', '^src/web/'),
    home('jpeg-js', 'jpeg-js', '^src/camera/simulated/'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
  },
};
