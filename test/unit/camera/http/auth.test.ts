import { describe, expect, it } from 'vitest';
import { HttpAuth, parseChallenges } from '../../../../src/camera/http/auth.ts';

const parsed = (header: string) =>
  parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);
const authorizationFor = (header: string): string | null => {
  const auth = new HttpAuth({ username: 'Mufasa', password: 'Circle Of Life' });
  return auth.acceptChallenge(header) ? auth.authorize('GET', '/dir/index.html') : null;
};

describe('parseChallenges', () => {
  it('separates several challenges in one header', () => {
    expect(
      parsed('Basic realm="a, b\\"c", Digest realm=x,nonce="n==" , qop="auth,auth-int",Negotiate'),
    ).toEqual([
      ['basic', { realm: 'a, b"c' }],
      ['digest', { realm: 'x', nonce: 'n==', qop: 'auth,auth-int' }],
      ['negotiate', {}],
    ]);
  });

  it.each(['', ',,,', '"', '=x', 'Digest nonce="open', 'Digest =', '\0', `Digest ${'a="b",'.repeat(5000)}`])(
    'does not throw for %j',
    (header) => {
      expect(() => parseChallenges(header.slice(0, 20_000))).not.toThrow();
    },
  );
});

describe('HttpAuth', () => {
  it('writes each part on one line, of one byte per character', () => {
    // Cut to one byte, U+010D and U+010A would be a line break.
    const auth = new HttpAuth({ username: 'a\u010d\u010aé"', password: 'b' });
    auth.acceptChallenge('Digest realm="r\r\nX: y", nonce="n"');
    const header = auth.authorize('GET', '/') ?? '';
    expect(header).toMatch(/^[\x20-\x7e\x80-\xff]*$/);
    const [, username = ''] = /username="(.*?)", realm="rX: y"/.exec(header) ?? [];
    expect(Buffer.from(username, 'latin1').toString()).toBe('a\u010d\u010aé\\"');
  });

  it('sends no credentials before the first challenge', () => {
    expect(new HttpAuth({ username: 'a', password: 'b' }).authorize('GET', '/')).toBeNull();
  });

  it('computes the response of RFC 2617 without qop', () => {
    // HA1 and HA2 as in RFC 2617, section 3.5; without qop the response is MD5(HA1:nonce:HA2), by md5sum.
    const header = authorizationFor(
      'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"',
    );
    expect(header).toContain('response="670fd8c2df070c60b045671b8b24ff02"');
    expect(header).not.toContain('qop');
    expect(header).toContain('opaque="5ccc069c403ebaf9f0171e9517f40e41"');
  });

  it('answers the strongest supported challenge', () => {
    const both =
      'Digest realm="r", nonce="1", algorithm=MD5, qop="auth", Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth", Basic realm="r"';
    expect(authorizationFor(both)).toMatch(/nonce="2".*algorithm=SHA-256/);
    expect(authorizationFor('Digest realm="r", nonce="1", algorithm=SHA-512-256, Basic realm="r"')).toMatch(
      /^Basic /,
    );
    expect(authorizationFor('Digest realm="r", nonce="1", qop="auth-int"')).toBeNull();
    expect(authorizationFor('Bearer')).toBeNull();
  });

  it('counts the requests with a nonce, and takes the next nonce from Authentication-Info', () => {
    const auth = new HttpAuth({ username: 'a', password: 'b' });
    auth.acceptChallenge('Digest realm="r", nonce="1", qop="auth"');
    expect(auth.authorize('GET', '/')).toContain('nc=00000001');
    expect(auth.authorize('GET', '/')).toContain('nc=00000002');
    auth.acceptInfo('nextnonce="2", qop=auth');
    expect(auth.authorize('GET', '/')).toMatch(/nonce="2".*nc=00000001/);
  });
});
