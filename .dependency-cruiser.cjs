// The walls of the house: see docs/architecture.md.
const home = (name, pkg, allowed) => ({
  name: `${name}-has-one-home`,
  comment: `${pkg} is imported only in ${allowed}`,
  severity: 'error',
  from: { path: '^src/', pathNot: allowed },
  to: { path: `node_modules/${pkg}(/|$)` },
});

const stages = 'schedule|camera|calibration|vision|model|store|mqtt|health|http|cli';

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'leaves-import-nothing-of-the-house',
      severity: 'error',
      from: {
        path: '^src/(base/|contract/[^/]+|config/schema)',
      },
      to: { path: '^src/', pathNot: '^src/(base/|contract/|config/schema)' },
    },
    {
      name: 'stages-meet-only-in-agent',
      comment: 'a stage imports leaves and, of another stage, its type file alone',
      severity: 'error',
      from: {
        path: `^src/(${stages})/`,
        pathNot:
          '^src/(cli/|mqtt/delivery|model/lifecycle|model/install/pending-replies|health/(time-sync|monitor))',
      },
      to: {
        path: `^src/(${stages})/`,
        pathNot: [
          '^src/$1/',
          '^src/(camera/camera|vision/protocol|model/(manifest|types)|store/types|calibration/types|mqtt/types|http/types|schedule/types|health/types)\\.ts$',
        ],
      },
    },
    {
      name: 'only-main-and-cli-run-start-the-agent',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(main|cli/run)\\.ts$' },
      to: { path: '^src/agent\\.ts$' },
    },
    home('onnxruntime', '(onnxruntime-node|sharp)', '^src/vision/'),
    home('mqtt', '(mqtt|mqtt-packet|aedes)', '^src/mqtt/'),
    home('better-sqlite3', 'better-sqlite3', '^src/store/'),
    home('fastify', '(fastify|@fastify)', '^src/http/'),
    home('node-cron', '(node-cron|suncalc)', '^src/schedule/'),
    home('convict', '(convict|json5|yaml)', '^src/config/'),
    home('systeminformation', '(systeminformation|koffi)', '^src/(health/|vision/hardware)'),
    home('ajv', 'ajv', '^src/base/schema-checker\\.ts$'),
    home('prom-client', 'prom-client', '^src/health/'),
    home('tuf', '(tuf-js|@tufjs|tar)', '^src/model/'),
    home('commander', '(commander|cli-progress)', '^src/cli/'),
    home('jpeg-js', 'jpeg-js', '^src/camera/simulated/'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
  },
};
