import { addAbortListener } from 'node:events';
import { connect as openTcp, isIP, type Socket } from 'node:net';
import { connect as openTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { AgentError } from '../base/errors.ts';
import { NotPem, readCertificateFile } from '../base/pem.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import { toCameraError } from './http/failure.ts';

export type TlsSettings = CameraSettings['tls'];

export interface Peer {
  /** A host name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Opens a connection. Throws `camera_unreachable`, `camera_timeout`, or the signal's reason on abort. */
export async function connectTcp(peer: Peer, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const socket = openTcp(peer);
  await untilOpen(socket, 'connect', signal);
  return socket;
}

/**
 * Opens a TLS connection. Resolves when the camera's certificate is accepted; until then it sends no byte of a request.
 * Throws `camera_certificate`, whose hint shows the fingerprint, or as `connectTcp` does.
 */
export async function connectTls(peer: Peer, settings: TlsSettings, signal: AbortSignal): Promise<TLSSocket> {
  signal.throwIfAborted();
  const socket = openTls({
    ...peer,
    ...(isIP(peer.host) === 0 ? { servername: peer.host } : {}),
    ...trust(settings),
    // The certificate is checked below: the hint needs that of a refused one.
    rejectUnauthorized: false,
  });
  await untilOpen(socket, 'secureConnect', signal);
  try {
    checkCertificate(socket, settings);
    return socket;
  } catch (refusal) {
    socket.destroy();
    throw refusal;
  }
}

async function untilOpen(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<void> {
  using _abort = addAbortListener(signal, () => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(event, resolve);
      // It stays, so that an error after a refusal has a listener.
      socket.on('error', reject);
      socket.once('close', () => reject(new Error('closed')));
    });
  } catch (failure) {
    signal.throwIfAborted();
    throw toCameraError(failure);
  }
}

const STRICT: TlsSettings = { ca: null, fingerprint256: null, insecure: false };

/**
 * The settings for a connection to `host`. A pin and `insecure` concern the configured host alone: a redirect or a playlist
 * may lead to others, whose certificates are checked as usual.
 */
export const tlsFor = (settings: TlsSettings = STRICT, host: string, configuredHost: string): TlsSettings =>
  host.toLowerCase() === configuredHost.toLowerCase() ? settings : { ...STRICT, ca: settings.ca };

function trust({ ca, fingerprint256, insecure }: TlsSettings): ConnectionOptions {
  // Old cameras have short keys and old protocols. A pin is as good with them; `insecure` accepts them too.
  const legacy: ConnectionOptions =
    fingerprint256 === null && !insecure ? {} : { ciphers: 'DEFAULT@SECLEVEL=0', minVersion: 'TLSv1' };
  // A file with only the certificate of the camera, or of an intermediate authority, is trusted as it is.
  return ca === null ? legacy : { ...legacy, ca: readCa(ca), allowPartialTrustChain: true };
}

function readCa(file: string): string[] {
  try {
    return readCertificateFile(file).map(String);
  } catch (cause) {
    const wanted = cause instanceof NotPem ? cause.message : 'a certificate in PEM';
    throw new AgentError('camera_certificate', `the file of tls.ca cannot be used: wanted ${wanted}`, {
      context: { file },
      cause,
      hint: 'write a PEM file of certificates that the agent may read',
    });
  }
}

function checkCertificate(socket: TLSSocket, settings: TlsSettings): void {
  const { ca, fingerprint256: pin, insecure } = settings;
  if (insecure) return;
  const fingerprint = socket.getPeerX509Certificate()?.fingerprint256 ?? null;
  if (pin !== null && fingerprint !== pin) throw refuse('is not the pinned one', fingerprint, pin);
  if ((pin === null || ca !== null) && !socket.authorized)
    throw refuse(describeReason(String(socket.authorizationError)), fingerprint, pin);
}

/** Node's codes of refused certificates. The text of a certificate is not shown: its owner chooses it. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/SELF_SIGNED/, 'is self-signed'],
  [/HAS_EXPIRED/, 'has expired'],
  [/NOT_YET_VALID/, 'is not valid yet: check the clock of this device'],
  [/ALTNAME/, 'is for another host name'],
  [/UNABLE_TO_(GET_ISSUER|VERIFY)/, 'is signed by an unknown authority'],
];

const describeReason = (code: string): string =>
  REASONS.find(([pattern]) => pattern.test(code))?.[1] ?? `is not accepted (${code.slice(0, 60)})`;

function refuse(reason: string, fingerprint: string | null, pin: string | null): AgentError {
  const hint =
    pin === null
      ? `if this is the camera's own certificate, set tls.fingerprint256: "${fingerprint ?? ''}"; otherwise name its authority with tls.ca`
      : `if the camera has a new certificate, set tls.fingerprint256: "${fingerprint ?? ''}"; otherwise another server answers in its place`;
  return new AgentError('camera_certificate', `the camera's certificate ${reason}; nothing was sent to it`, {
    context: { fingerprint256: fingerprint },
    hint,
  });
}
