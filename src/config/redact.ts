import { createHash } from 'node:crypto';
import { redactUrl } from '../base/log.ts';
import { isObject, type Overlay } from './overlay.ts';
import type { Settings } from './schema.ts';

const MASK = '***';
const mask = (secret: string | null): string | null => (secret === null ? null : MASK);

/** The settings as they may be shown: no password, no token, no credentials in a URL or in a command's arguments. */
export function redactedSettings(settings: Settings): Settings {
  return {
    ...settings,
    cameras: settings.cameras.map((camera) => ({
      ...camera,
      url: camera.url === null ? null : redactUrl(camera.url),
      command: camera.command?.map(redactUrl) ?? null,
      username: mask(camera.username),
      password: mask(camera.password),
    })),
    mqtt: {
      ...settings.mqtt,
      url: settings.mqtt.url.map(redactUrl),
      username: mask(settings.mqtt.username),
      password: mask(settings.mqtt.password),
      passwordFile: null,
    },
    model: {
      ...settings.model,
      repository: settings.model.repository === null ? null : redactUrl(settings.model.repository),
    },
    http: { ...settings.http, token: mask(settings.http.token) },
  };
}

const SECRET = /^(username|password|token)$/;

/** What remote commands have set, as it may be shown. */
export function redactedOverlay(overlay: Overlay): Record<string, unknown> {
  return shownValue('', overlay) as Record<string, unknown>;
}

function shownValue(key: string, value: unknown): unknown {
  if (typeof value === 'string') return SECRET.test(key) ? MASK : redactUrl(value);
  if (Array.isArray(value)) return value.map((item: unknown) => shownValue(key, item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shownValue(name, inner)]));
}

/**
 * `sha256:…` of the settings without their secrets, so that it may be published: a short password could be guessed
 * from a digest that held it. Equal settings give equal digests, whatever file or variable they came from.
 */
export function configDigest(settings: Settings): string {
  return `sha256:${createHash('sha256')
    .update(canonical(redactedSettings(settings)))
    .digest('hex')}`;
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
