import { hostname } from 'node:os';
import { LOG_LEVELS } from '../contract/config.ts';
import type { CameraInput } from './schema.ts';
import * as is from './formats.ts';
import { settingFactory, withKeys, type Group, type OnInvalid } from './setting.ts';

/** The host name as an id: other characters become `-`. */
export function toDeviceName(host: string): string {
  const name = host
    .replace(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64);
  return name === '' ? 'device' : name;
}

/** The cameras of `npm start`: a simulated sea that labels its own observations. */
const DEFAULT_CAMERAS: readonly CameraInput[] = [
  {
    id: 'sim',
    kind: 'simulated',
    schedule: { everyS: 4 },
    burst: { frames: 3, intervalS: 0.5 },
    simulation: { selfLabel: true },
    // The first clip starts with the agent. It takes half a minute, as the scene of its frames runs faster.
    seaState: { schedule: { everyS: 600 }, durationS: 256 },
  },
];

/**
 * The one source of the configuration: keys, defaults, formats, and the description for docs and example.
 * `cameras.ts` checks the cameras with their TypeBox schema.
 */
export function settingsDefinition(onInvalid: OnInvalid = () => undefined): Group {
  const setting = settingFactory(onInvalid);

  return withKeys({
    site: setting('local', is.id, 'The beach or station; a level of every MQTT topic.'),
    device: setting(toDeviceName(hostname()), is.id, 'This machine; a level of every MQTT topic.'),
    stateDir: setting('./var', is.text('a directory'), 'The directory of the database and the models.'),
    logLevel: setting('info', is.oneOf(LOG_LEVELS), 'The lowest level of log lines that are written.'),
    cameras: setting(DEFAULT_CAMERAS, is.cameraList, 'The list of cameras.'),
    mqtt: {
      url: setting(
        [],
        is.oneOrListOf(is.brokerUrl, 8),
        'The broker, or a list of brokers to try in turn; without one, the agent uses its embedded broker.',
      ),
      protocolVersion: setting(5, is.oneOf([5, 4]), 'MQTT 5, or 4 for MQTT 3.1.1.'),
      clientId: setting(
        null,
        is.pattern(/^[^\0+#/]{1,128}$/, '1 to 128 characters without + # /'),
        'The client id; default: `swellsight-{site}-{device}`.',
      ),
      username: setting(null, is.secretText('name'), 'The user name for the broker.'),
      password: setting(null, is.secretText('text'), 'The password for the broker.'),
      password_file: setting(null, is.text('a file'), 'A file that holds the password for the broker.'),
      ca: setting(null, is.text('a PEM file'), 'The CA certificates that verify the broker.'),
      cert: setting(null, is.text('a PEM file'), 'The certificate of this device; needs mqtt.key.'),
      key: setting(null, is.text('a PEM file'), 'The private key of this device; needs mqtt.cert.'),
      backfillPerS: setting(
        50,
        is.number(0, 100_000),
        'Limit for sending the backlog, records per second, so that a fleet does not flood its broker; 0: no limit.',
      ),
      base: setting('swellsight/v1', is.topicBase, 'The first levels of every MQTT topic.'),
      homeAssistant: {
        enabled: setting(
          false,
          is.flag,
          'Whether the agent announces itself to Home Assistant (MQTT discovery).',
        ),
        prefix: setting('homeassistant', is.topicBase, 'The discovery prefix of Home Assistant.'),
      },
      embedded: {
        host: setting('127.0.0.1', is.loopback, 'The address of the embedded broker.'),
        port: setting(1883, is.integer(0, 65_535), 'The port of the embedded broker; 0: any free port.'),
      },
    },
    model: {
      active: setting(
        null,
        is.pattern(
          /^[a-z0-9][a-z0-9._-]{0,63}\/\d+\.\d+\.\d+[0-9A-Za-z.+-]*$/,
          'name/version, such as gauge/1.2.0',
        ),
        'The only model to run; installs are then refused. Default: the installed model, or the shipped one.',
      ),
      trustRoot: setting(null, is.text('a file'), "The operator's root of trust (TUF root.json)."),
      repository: setting(null, is.url(['https', 'http']), "The operator's signed model repository."),
      allowUnsigned: setting(
        false,
        is.flag,
        'Whether unsigned models are accepted; the agent then reports itself as degraded.',
      ),
      maxKbPerS: setting(
        null,
        is.number(8, 1_000_000),
        'Limit for the download of a model, kilobytes per second; default: no limit.',
      ),
      probation: {
        observations: setting(
          20,
          is.integer(1, 100_000),
          'Minimum number of observations in the probation of a new model.',
        ),
        minutes: setting(
          60,
          is.number(0, 100_000),
          'Minimum duration of the probation of a new model, minutes.',
        ),
      },
    },
    update: {
      trustRoot: setting(
        null,
        is.text('a file'),
        'The root of trust of the repository of agents (TUF root.json).',
      ),
      repository: setting(null, is.url(['https', 'http']), 'The signed repository of agents.'),
      auto: setting(
        false,
        is.flag,
        'Whether the agent installs the newest version of the repository by itself, in the window.',
      ),
      window: {
        from: setting(
          '02:00',
          is.timeOfDay,
          'Start of the time in which automatic updates may begin and restart the agent; local time.',
        ),
        to: setting('05:00', is.timeOfDay, 'End of this time; may be after midnight.'),
      },
      probation: {
        observations: setting(
          3,
          is.integer(1, 1000),
          'Observations that a new version must store before it is confirmed.',
        ),
        minutes: setting(
          2,
          is.number(0, 20),
          'Minimum duration of the trial of a new version, minutes. The updater ends a trial after 30 minutes.',
        ),
      },
    },
    remote: {
      cameraHosts: setting(
        [],
        is.listOf(is.hostPattern, 32),
        'Hosts whose addresses remote commands may give to cameras although a local camera has privacy masks: `name` or `*.name`, each with or without a port. The masks of local cameras on the same host apply.',
      ),
    },
    inference: {
      providers: setting(
        'auto',
        is.either(
          'auto',
          is.nonEmptyListOf(is.pattern(/^[a-z][a-z0-9_]{1,31}$/, 'a provider name of onnxruntime'), 16),
        ),
        'The execution providers to try, best first; auto: those that fit the hardware.',
      ),
      threads: setting(
        'auto',
        is.either('auto', is.integer(1, 256)),
        'Threads of the model; auto: measures the fastest number.',
      ),
      timeoutS: setting(10, is.number(0.1, 600), 'Timeout of the analysis of one frame, seconds.'),
      maxRssMb: setting(
        300,
        is.integer(64, 65_536),
        'Limit of the resident memory of the vision process, megabytes, without the libraries of a GPU; above it, the process restarts between two frames.',
      ),
    },
    store: {
      retentionDays: setting(90, is.number(1, 36_500), 'Age at which observations are deleted, days.'),
      maxMb: setting(1024, is.integer(16, 1_048_576), 'Limit of the database on disk, megabytes.'),
      outbox: {
        maxMessages: setting(
          100_000,
          is.integer(100, 10_000_000),
          'Limit of messages that wait for the broker; above it, the oldest are dropped and counted.',
        ),
        maxAgeDays: setting(
          30,
          is.number(0.01, 3650),
          'Age at which waiting messages are dropped and counted, days.',
        ),
        maxMb: setting(
          256,
          is.integer(1, 1_048_576),
          'Limit of the size of all waiting messages, megabytes; above it, the oldest are dropped and counted.',
        ),
      },
    },
    calibration: {
      sessionHours: setting(
        6,
        is.number(0, 1000),
        'Labels of one camera whose images were taken less than this many hours apart belong to one session (visit), which counts once; 0: each label is a session.',
      ),
    },
    heartbeat: {
      intervalS: setting(30, is.number(1, 3600), 'Interval of the health messages, seconds.'),
    },
    health: {
      maxWrittenMbDay: setting(
        5000,
        is.number(0, 10_000_000),
        'Writes to the disk above which the agent reports itself as degraded, megabytes per day; 0: no limit.',
      ),
      maxSlowdown: setting(
        8,
        is.integer(1, 64),
        'Under heat or low power, cameras with everyS observe at most this many times less often; 1: never less often.',
      ),
    },
    http: {
      host: setting(
        '127.0.0.1',
        is.host,
        'The address of the HTTP API and its pages; an address that is not loopback needs a token.',
      ),
      port: setting(8080, is.integer(0, 65_535), 'The port of the HTTP API; 0: any free port.'),
      token: setting(null, is.secretText('text'), 'The bearer token that every request must have.'),
      token_file: setting(null, is.text('a file'), 'A file that holds the token.'),
      cors: setting([], is.listOf(is.origin, 32), 'Origins of other web pages that may call the API.'),
      allowedHosts: setting(
        [],
        is.listOf(is.hostPattern, 32),
        'Host names under which clients reach the agent, for example through a reverse proxy: `name` or `*.name`, each with or without a port. On loopback these are allowed in addition to localhost; on other addresses a list restricts the names.',
      ),
      maxUploadMb: setting(20, is.number(0.1, 1000), 'The largest accepted image, megabytes.'),
      batchMax: setting(50, is.integer(1, 1000), 'The maximum number of images in one batch.'),
      cacheTtlS: setting(
        300,
        is.number(0, 31_536_000),
        'How long the result of an analysis is cached, seconds; 0: never.',
      ),
      rateLimit: setting(600, is.integer(1, 1_000_000), 'Limit of requests per minute and client.'),
    },
  });
}
