import { createHash } from 'node:crypto';
import type { Overlay } from './overlay.ts';
import type { Settings } from './schema.ts';
import { mapSecrets, redactSecret } from './secret-keys.ts';

/** The settings as everybody may see them: addresses with scheme, host and port alone, all other secrets as `***`. */
export function redactSettings(settings: Settings): Settings {
  const redacted = mapSecrets(settings, redactSecret) as Settings;
  // The digest must not depend on the place of a secret.
  return { ...redacted, mqtt: { ...redacted.mqtt, passwordFile: null } };
}

/** The overlay as everybody may see it. */
export const redactOverlay = (overlay: Overlay): Overlay => mapSecrets(overlay, redactSecret) as Overlay;

/**
 * `sha256:…` of the settings without their secrets: a digest over a short password would allow guessing it. Equal settings
 * have equal digests, independent of their source. It does not change with a password or with the path of an address.
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
