import { hostname } from 'node:os';
import type { CameraInput } from './schema.ts';
import * as is from './formats.ts';
import type { Format } from './formats.ts';
import { settingMaker, type Group, type Refuse } from './setting.ts';

export const MQTT_SCHEMES = ['mqtt', 'mqtts', 'ws', 'wss'] as const;

/** The host name as an id: what does not fit becomes `-`. */
export function deviceName(host: string): string {
  const name = host
    .replace(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64);
  return name === '' ? 'device' : name;
}

/** What `npm start` runs on: a drawn sea that labels itself. */
const DEFAULT_CAMERAS: readonly CameraInput[] = [
  {
    id: 'sim',
    kind: 'simulated',
    schedule: { everyS: 4 },
    burst: { frames: 3, intervalS: 0.5 },
    simulation: { selfLabel: true },
  },
];

/**
 * The configuration's one source: keys, defaults, formats and the sentence that the docs and the example print.
 * Cameras are checked in `cameras.ts` against their TypeBox schema.
 */
export function settingsDefinition(refuse: Refuse = () => undefined): Group {
  const setting = settingMaker(refuse);
  const array: Format = { wanted: 'a list of cameras', accepts: (value) => Array.isArray(value) };

  return {
    site: setting('site', 'local', is.id, 'The beach or station; a level of every topic.'),
    device: setting('device', deviceName(hostname()), is.id, 'This machine; a level of every topic.'),
    stateDir: setting('stateDir', './var', is.text('a folder'), 'Where the database and models are kept.'),
    logLevel: setting(
      'logLevel',
      'info',
      is.oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
      'The least severe log line that is written.',
    ),
    cameras: setting('cameras', DEFAULT_CAMERAS, array, 'The cameras; the keys of each are listed below.'),
    mqtt: {
      url: setting(
        'mqtt.url',
        [],
        is.oneOrSeveral(is.url(MQTT_SCHEMES), 8),
        'The broker, or several that are tried in turn; without one the embedded broker is used.',
      ),
      protocolVersion: setting('mqtt.protocolVersion', 5, is.oneOf([5, 4]), 'MQTT 5, or 4 for MQTT 3.1.1.'),
      clientId: setting(
        'mqtt.clientId',
        null,
        is.pattern(/^[^\0+#/]{1,128}$/, '1 to 128 characters without + # /'),
        'The client id; `swellsight-{site}-{device}` when not set.',
      ),
      username: setting('mqtt.username', null, is.text(), 'The user name at the broker.'),
      password: setting('mqtt.password', null, is.text(), 'The password at the broker.', { sensitive: true }),
      password_file: setting(
        'mqtt.password_file',
        null,
        is.text('a file'),
        'A file that holds the password.',
      ),
      ca: setting('mqtt.ca', null, is.text('a PEM file'), 'The certificates that the broker is checked by.'),
      cert: setting('mqtt.cert', null, is.text('a PEM file'), "This device's certificate; needs mqtt.key."),
      key: setting('mqtt.key', null, is.text('a PEM file'), "This device's private key; needs mqtt.cert."),
      backfillPerS: setting(
        'mqtt.backfillPerS',
        50,
        is.number(0, 100_000),
        'The backlog is sent at so many records a second, so that a fleet does not flood its broker; 0: no limit.',
      ),
      base: setting('mqtt.base', 'swellsight/v1', is.topicBase, 'The first levels of every topic.'),
      homeAssistant: {
        enabled: setting('mqtt.homeAssistant.enabled', false, is.flag, 'Announces itself to Home Assistant.'),
        prefix: setting(
          'mqtt.homeAssistant.prefix',
          'homeassistant',
          is.topicBase,
          'The discovery prefix of Home Assistant.',
        ),
      },
      embedded: {
        host: setting('mqtt.embedded.host', '127.0.0.1', is.loopback, 'Where the embedded broker listens.'),
        port: setting(
          'mqtt.embedded.port',
          1883,
          is.integer(0, 65_535),
          'Its port; 0 takes any that is free.',
        ),
      },
    },
    model: {
      active: setting(
        'model.active',
        null,
        is.pattern(
          /^[a-z0-9][a-z0-9._-]{0,63}\/\d+\.\d+\.\d+[0-9A-Za-z.+-]*$/,
          'name/version, such as gauge/1.2.0',
        ),
        'The model to run; the shipped one when not set.',
      ),
      trustRoot: setting(
        'model.trustRoot',
        null,
        is.text('a file'),
        "The operator's root of trust (TUF root.json).",
      ),
      repository: setting(
        'model.repository',
        null,
        is.url(['https', 'http']),
        "The operator's signed model repository.",
      ),
      allowUnsigned: setting(
        'model.allowUnsigned',
        false,
        is.flag,
        'Accepts unsigned models; shown as degraded.',
      ),
      maxKbPerS: setting(
        'model.maxKbPerS',
        null,
        is.number(8, 1_000_000),
        'The most that the download of a model takes of the link, kilobytes a second.',
      ),
      probation: {
        observations: setting(
          'model.probation.observations',
          20,
          is.integer(1, 100_000),
          'A new model is on probation for so many observations',
        ),
        minutes: setting(
          'model.probation.minutes',
          60,
          is.number(0, 100_000),
          'and at least so many minutes.',
        ),
      },
    },
    inference: {
      providers: setting(
        'inference.providers',
        'auto',
        is.either(
          'auto',
          is.fullListOf(is.pattern(/^[a-z][a-z0-9_]{1,31}$/, "onnxruntime's name of one"), 16),
        ),
        'The execution providers that may be tried, best first; auto asks the hardware.',
      ),
      threads: setting(
        'inference.threads',
        'auto',
        is.either('auto', is.integer(1, 256)),
        'Threads of the model; auto measures.',
      ),
      timeoutS: setting(
        'inference.timeoutS',
        10,
        is.number(0.1, 600),
        'The longest that one frame may take, seconds.',
      ),
      maxRssMb: setting(
        'inference.maxRssMb',
        300,
        is.integer(64, 65_536),
        'The vision process is started anew, between frames, above this resident memory.',
      ),
    },
    store: {
      retentionDays: setting(
        'store.retentionDays',
        90,
        is.number(1, 36_500),
        'Observations are kept so many days.',
      ),
      maxMb: setting(
        'store.maxMb',
        1024,
        is.integer(16, 1_048_576),
        'The most that the database may take on disk.',
      ),
      outbox: {
        maxMessages: setting(
          'store.outbox.maxMessages',
          100_000,
          is.integer(100, 10_000_000),
          'Messages that wait for the broker; above it the oldest are dropped and counted.',
        ),
        maxAgeDays: setting(
          'store.outbox.maxAgeDays',
          30,
          is.number(0.01, 3650),
          'Messages that waited longer are dropped and counted.',
        ),
        maxMb: setting(
          'store.outbox.maxMb',
          256,
          is.integer(1, 1_048_576),
          'All messages that wait may take so much; above it the oldest are dropped and counted.',
        ),
      },
    },
    heartbeat: {
      intervalS: setting('heartbeat.intervalS', 30, is.number(1, 3600), 'Seconds between health messages.'),
    },
    http: {
      host: setting(
        'http.host',
        '127.0.0.1',
        is.host,
        'Where the HTTP API and the page listen; anything but loopback needs a token.',
      ),
      port: setting('http.port', 8080, is.integer(0, 65_535), 'The port; 0 takes any that is free.'),
      token: setting('http.token', null, is.text(), 'The bearer token that requests must carry.', {
        sensitive: true,
      }),
      token_file: setting('http.token_file', null, is.text('a file'), 'A file that holds the token.'),
      cors: setting(
        'http.cors',
        [],
        is.listOf(is.origin, 32),
        'Origins of other pages that may call the API.',
      ),
      maxUploadMb: setting(
        'http.maxUploadMb',
        20,
        is.number(0.1, 1000),
        'The largest image taken, megabytes.',
      ),
      batchMax: setting('http.batchMax', 50, is.integer(1, 1000), 'The most images in one batch.'),
      cacheTtlS: setting(
        'http.cacheTtlS',
        300,
        is.number(0, 31_536_000),
        'Seconds that an analysis stays cached; 0 for never.',
      ),
      rateLimit: setting(
        'http.rateLimit',
        600,
        is.integer(1, 1_000_000),
        'Requests a minute that one client may make.',
      ),
    },
  };
}
