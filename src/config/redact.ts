import { createHash } from 'node:crypto';
import { redactUrl } from '../base/log.ts';
import { isObject } from './layers.ts';
import type { Overlay } from './overlay.ts';
import type { Settings } from './schema.ts';

const MASK = '***';
const mask = (secret: string | null): string | null => (secret === null ? null : MASK);

/** The settings without passwords, tokens, and credentials in URLs and arguments of commands. */
export function redactSettings(settings: Settings): Settings {
  return {
    ...settings,
    cameras: settings.cameras.map((camera) => ({
      ...camera,
      url: camera.url === null ? null : redactUrl(camera.url),
      command: camera.command?.map(redactUrl) ?? null,
      username: mask(camera.username),
      password: mask(camera.password),
      headers: Object.fromEntries(Object.keys(camera.headers).map((name) => [name, MASK])),
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
    update: {
      ...settings.update,
      repository: settings.update.repository === null ? null : redactUrl(settings.update.repository),
    },
    http: { ...settings.http, token: mask(settings.http.token) },
  };
}

const SECRET = /^(username|password|token)$/;

/** The overlay without passwords, tokens, and credentials in URLs. */
export function redactOverlay(overlay: Overlay): Record<string, unknown> {
  return redactValue('', overlay) as Record<string, unknown>;
}

function redactValue(key: string, value: unknown): unknown {
  if (typeof value === 'string') return SECRET.test(key) ? MASK : redactUrl(value);
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(key, item));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      redactValue(key === 'headers' ? 'password' : name, inner),
    ]),
  );
}

/**
 * `sha256:…` of the settings without their secrets: a digest over a short password would allow guessing it. Equal settings
 * have equal digests, independent of their source.
 */
export function computeConfigDigest(settings: Settings): string {
  return `sha256:${createHash('sha256')
    .update(toCanonicalJson(redactSettings(settings)))
    .digest('hex')}`;
}

function toCanonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
