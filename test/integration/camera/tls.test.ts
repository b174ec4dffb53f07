import { afterAll, describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openCamera } from '../../../src/camera/open.ts';
import { cameraSettings, captureBurst, errorText } from '../../fixtures/capture.ts';
import { fingerprintOf } from '../../fixtures/certificates.ts';
import { behindTls, CERTIFICATES, pinOf } from '../../fixtures/camera-zoo/tls.ts';
import { TLS_KINDS } from '../../fixtures/camera-zoo/tls-rows.ts';
import type { OpenQuirk } from '../../fixtures/camera-zoo/zoo.ts';
import type { TlsFront } from '../../fixtures/tls-front.ts';

const { selfSigned, otherAuthority, expired, wrongHost } = CERTIFICATES;
const MARKER = 'mark3r';
const stacks: AsyncDisposableStack[] = [];
afterAll(async () => {
  for (const stack of stacks) await stack.disposeAsync();
});

/** A camera with a marker in every place for a secret. */
const withSecrets =
  (open: OpenQuirk): OpenQuirk =>
  async (stack) => {
    const settings = await open(stack);
    const isRtsp = settings.kind === 'rtsp';
    return {
      ...settings,
      url: `${settings.url ?? ''}?token=${MARKER}`,
      username: settings.username ?? `${MARKER}-user`,
      password: settings.password ?? MARKER,
      ...(isRtsp ? {} : { headers: { Cookie: `session=${MARKER}`, 'X-API-Key': MARKER } }),
    };
  };

const start = async (open: OpenQuirk) => {
  const stack = new AsyncDisposableStack();
  stacks.push(stack);
  const settings = cameraSettings({ timeoutS: 15, ...(await open(stack)) });
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  stack.defer(() => camera.close());
  return () => captureBurst(camera, { timeoutS: 15, noRetry: AbortSignal.abort() });
};

describe.each(Object.entries(TLS_KINDS))('%s over TLS', (_, open) => {
  it.each([
    ['self-signed', selfSigned],
    ['of an unknown authority', otherAuthority],
    ['expired', expired],
    ['for another host', wrongHost],
  ])('sends nothing to a server whose certificate is %s', async (_reason, certificate) => {
    let front: TlsFront | undefined;
    const capture = await start(
      behindTls(withSecrets(open), certificate, {}, { onStart: (started) => (front = started) }),
    );
    const { failure } = await capture();
    expect(failure).toMatchObject({ code: 'camera_certificate' });
    expect(failure instanceof AgentError ? failure.hint : '').toContain(`"${fingerprintOf(certificate)}"`);
    expect(errorText(failure)).not.toContain(MARKER);
    expect(front?.received).toBe('');
  });

  it('refuses another certificate after pinning, and accepts the old one again', async () => {
    let front: TlsFront | undefined;
    const capture = await start(
      behindTls(open, selfSigned, pinOf(selfSigned), { onStart: (started) => (front = started) }),
    );
    expect(errorText((await capture()).failure)).toBe('null');
    front?.use(otherAuthority);
    const before = front?.received;
    const { failure } = await capture();
    expect(failure).toMatchObject({ code: 'camera_certificate' });
    expect(failure instanceof AgentError ? failure.hint : '').toContain(fingerprintOf(otherAuthority));
    expect(front?.received).toBe(before);
    front?.use(selfSigned);
    expect(errorText((await capture()).failure)).toBe('null');
  });
});
