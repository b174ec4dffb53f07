import { Type } from '@sinclair/typebox';
import { closed } from '../contract/schema-parts.ts';
import { secret } from './secret-kind.ts';

/** The keys of a camera for its connection, as written in the file. All are optional. */
export const ConnectionSettings = Type.Object({
  headers: Type.Record(Type.String(), Type.String(secret('header')), {
    description: 'HTTP request headers by name, such as Referer; the values are secret (hls, http)',
  }),
  headers_file: Type.String({
    minLength: 1,
    description: 'a file that holds more headers: lines "Name: value", or a JSON object (hls, http)',
  }),
  tls: Type.Partial(
    Type.Object(
      {
        ca: Type.String({
          minLength: 1,
          description: 'PEM file of the certificates to trust, instead of those of the system',
        }),
        fingerprint256: Type.String({
          pattern: '^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$',
          description: "SHA-256 of the camera's own certificate; without ca, nothing else is checked",
        }),
        insecure: Type.Boolean({
          description: 'true accepts any certificate, also that of an attacker; default false',
        }),
      },
      closed,
    ),
  ),
});

/** Which certificate of a camera is accepted. */
export interface TlsSettings {
  /** Absolute path of a PEM file; null: the certificates that Node trusts. */
  readonly ca: string | null;
  /** SHA-256 of the camera's own certificate, `AB:CD:…` in upper case; null: any. */
  readonly fingerprint256: string | null;
  /** True: any certificate. */
  readonly insecure: boolean;
}
