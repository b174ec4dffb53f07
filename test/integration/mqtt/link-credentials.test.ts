import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPrivateKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { OperatorClient } from '../../../src/mqtt/operator-client.ts';
import { Authority } from '../../fixtures/certificates.ts';
import { linkOptions } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, until } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const bed = new LinkTestBed();

const withLogin = (url: string, user: string, password: string): string =>
  url.replace('//', `//${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);

describe('user and password in the address of a broker', () => {
  it.each([
    ['a@b.org', 'p@ss'],
    ['pi', 'pa:ss:word'],
    ['a@b', '@:/%?#'],
    ['pi', '100%25'],
    ['josé', 'grüße ü'],
  ])('may contain any character: %s, %s', async (user, password) => {
    const mosquitto = await bed.broker({ users: { [user]: password } });
    const url = withLogin(mosquitto.url, user, password);
    const { births, events } = bed.link(linkOptions(url));
    await until(() => births.length === 1, 'the birth');
    expect(events).toEqual([]);
    const operator = await OperatorClient.connect({ url, username: null, password: null, ca: null });
    operator.close();
  });

  it('may differ from address to address, and from the settings', async () => {
    const first = await bed.broker({ users: { one: 'first:1' } });
    const second = await bed.broker({ users: { two: 'second@2' } });
    const third = await bed.broker({ users: { three: 'third' } });
    const urls = [
      withLogin(first.url, 'one', 'first:1'),
      withLogin(second.url, 'two', 'second@2'),
      third.url,
    ];
    const { link, events } = bed.link(linkOptions(urls, { username: 'three', password: 'third' }));
    for (const broker of [first, second, third]) {
      await until(
        () => link.connected && link.stats().broker === `127.0.0.1:${broker.port}`,
        'the next broker',
      );
      await broker.down();
    }
    expect(events).toEqual([]);
  });
});

describe('certificate and key of the device', () => {
  it('are accepted by the broker in the forms that other programs write', async () => {
    using authority = new Authority();
    const server = authority.issue({ name: 'localhost', names: 'DNS:localhost' });
    const own = authority.issue({ name: 'pi' });
    const dir = tempDir();
    bed.defer(() => dir.remove());
    const write = (name: string, content: string | Buffer): string => {
      writeFileSync(join(dir.path, name), content);
      return join(dir.path, name);
    };
    const [ca, cert, key] = [authority.ca, own.cert, own.key].map((path) => readFileSync(path, 'utf8')) as [
      string,
      string,
      string,
    ];
    const sec1 = createPrivateKey(key).export({ type: 'sec1', format: 'pem' }).toString();
    const bags = 'Bag Attributes\n    friendlyName: pi\nsubject=CN = pi\n';
    const port = await freePort();
    await bed.broker({
      lines: [
        `listener ${port} 127.0.0.1`,
        ...[`certfile ${server.cert}`, `keyfile ${server.key}`, `cafile ${authority.ca}`],
        ...['require_certificate true', 'use_identity_as_username true'],
      ],
    });
    const together = write('together.pem', `${bags}${ca}${bags}${key}${bags}${cert}`);
    for (const files of [
      { ca: authority.ca, ...own },
      { ca: together, cert: together, key: together },
      {
        ca: write('ca.pem', Buffer.from(`\uFEFF${ca}`, 'utf16le')),
        cert: write('cert.pem', `\uFEFF${cert.replaceAll('\n', '\r\n')}`),
        key: write('key.pem', sec1.replaceAll('\n', '\r\n')),
      },
    ]) {
      const { link, births } = bed.link(linkOptions(`mqtts://localhost:${port}`, files));
      await until(() => births.length === 1, `the birth with ${files.key}`);
      await link.stop();
    }
  });
});
